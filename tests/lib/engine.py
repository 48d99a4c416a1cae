# SPDX-License-Identifier: MIT
"""A TLS engine for tests, of Python's ssl module: what smtpd-tls(8) is by its contract, and what an
engine can do wrong. A client for it: Secure is a session that can start TLS."""

import array
import os
import select
import socket
import ssl
import subprocess
import threading
import time

from session import PATIENCE, Session

ANSWER = (b"SSL_PROTOCOL=%b\0SSL_CIPHER=%b\0SSL_TLS_SNI=mx.example.com\0SSL_CLIENT_VERIFY=NONE\0"
          b"SSL_CLIENT_S_DN=\0\0")


def make_certificate(folder):
    """A certificate and its key in one file."""
    path = folder / "certificate.pem"
    if not path.exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=mx.example.com", "-keyout", path, "-out", folder / "leaf.pem"],
                       check=True, capture_output=True)
        path.write_bytes((folder / "leaf.pem").read_bytes() + path.read_bytes())
    return path


class Relay:
    """TLS on `connection`, the plain side on `clear`. Nothing leaves that before the connection has
    it."""

    def __init__(self, certificate, connection, control, clear_in, clear_out=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.connection, self.control = connection, control
        self.clear_in, self.clear_out = clear_in, clear_out or clear_in
        self.for_client = self.for_session = b""
        self.n_peeked, self.until, self.has_client_ended, self.is_shut = 0, None, False, False
        self.is_stuck = False  # set by a test: it takes nothing from the session

    def close(self):
        for one in (self.connection, self.control, self.clear_in, self.clear_out):
            one.close()

    def flush(self):
        self.connection.sendall(self.outgoing.read())

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()
                octets = self.connection.recv(65536)
                if not octets:
                    raise ConnectionResetError("the client has left") from None
                self.incoming.write(octets)

    def answer(self):
        self.control.sendall(ANSWER % (self.tls.version().encode(), self.tls.cipher()[0].encode()))

    def read_client(self):
        octets = self.connection.recv(65536)
        self.incoming.write(octets) if octets else self.incoming.write_eof()
        self.decrypt()

    def decrypt(self):
        try:
            while piece := self.tls.read(65536):
                self.for_session += piece
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError:
            pass
        self.has_client_ended = True

    def write_session(self):
        n = self.clear_out.send(self.for_session, socket.MSG_DONTWAIT)
        self.for_session = self.for_session[n:]

    def read_session(self):
        """Encrypts it; it stays where it is."""
        octets = self.clear_in.recv(16384, socket.MSG_PEEK)
        self.n_peeked = len(octets)
        if octets:
            self.tls.write(octets)
        else:
            self.farewell()
        self.for_client += self.outgoing.read()

    def farewell(self):
        self.until = time.monotonic() + 2
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass

    def write_client(self):
        n = self.connection.send(self.for_client, socket.MSG_DONTWAIT)
        self.for_client = self.for_client[n:]
        if not self.for_client and self.n_peeked:
            self.clear_in.recv(self.n_peeked)
            self.n_peeked = 0
        elif not self.for_client and self.until:
            self.connection.shutdown(socket.SHUT_WR)

    def is_over(self):
        return self.until and (self.has_client_ended or time.monotonic() > self.until)

    def go_on(self):
        """Until both sides have ended; two seconds after the session."""
        self.decrypt()  # what came with the end of the handshake
        while not self.is_over() or self.for_client:
            reads, writes = {}, {}
            if self.for_session:
                writes[self.clear_out] = self.write_session
            elif not self.has_client_ended:
                reads[self.connection] = self.read_client
            elif not self.is_shut:
                self.is_shut = True
                self.clear_out.shutdown(socket.SHUT_WR)
            if self.for_client:
                writes[self.connection] = self.write_client
            elif not self.until and not self.is_stuck:
                reads[self.clear_in] = self.read_session
            ready = select.select(list(reads), list(writes), [], 0.1)
            for one in ready[0]:
                reads[one]()
            for one in ready[1]:
                writes[one]()

    def speak(self):
        """All of it."""
        try:
            self.handshake()
            self.answer()
            self.go_on()
        except ssl.SSLError as error:
            self.flush()
            self.control.sendall(b"TLS_ERROR=%b\0" % error.reason.encode())
        except OSError:
            pass
        finally:
            self.close()


class Engine:
    """One for all sessions, at a socket in `folder`. `speak` is given the Relay of each request."""

    def __init__(self, folder, speak=Relay.speak):
        self.certificate, self.speak = make_certificate(folder), speak
        self.path = folder / "engine"
        self.requests, self.threads, self.relays = [], [], []
        self.accepted = 0
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.path))
        self.listener.listen(8)
        self.start(self.accept)

    def start(self, run, *arguments):
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def options(self, mode="starttls"):
        return [f"--tls={mode}", f"--tls-engine={self.path}"]

    def accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.start(self.serve, one)

    def serve(self, requests):
        """Requests on one socket."""
        with requests:
            while True:
                request, rights, _, _ = requests.recvmsg(1024, socket.CMSG_SPACE(3 * 4))
                if not request:
                    return
                fds = [fd for _, _, data in rights for fd in array.array("i", data)]
                self.requests.append((request, len(fds)))
                relay = Relay(self.certificate, *[socket.socket(fileno=fd) for fd in fds])
                self.relays.append(relay)
                self.start(self.speak_to, relay)

    def speak_to(self, relay):
        try:
            self.speak(relay)
        except (OSError, ValueError):  # the client has left, or the test has
            relay.close()


class Secure(Session):
    """A session whose client can start TLS."""

    def start_tls(self, **options):
        self.expect((b"STARTTLS", b"220 2.0.0 "))
        self.handshake(**options)

    def handshake(self, name="mx.example.com"):
        assert not self.heard
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.ours.settimeout(PATIENCE)
        self.ours = context.wrap_socket(self.ours, server_hostname=name)
        self.ours.setblocking(False)

    def wait_for(self, readers, writers):
        if readers and isinstance(self.ours, ssl.SSLSocket) and self.ours.pending():
            return readers, [], []
        return super().wait_for(readers, writers)

    def take(self):
        try:
            return super().take()
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:  # the connection ended without a word of TLS
            return False


def stand_alone(certificate):
    """As smtpd-tls for one connection: descriptors 0, 3 and 4. What the file beside smtpd does in
    test_tls.py."""
    Relay(certificate, *[socket.socket(fileno=os.dup(fd)) for fd in (0, 3, 4)]).speak()
