# SPDX-License-Identifier: MIT
"""Connections, and servers that a measure talks to."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

ALL_PROGRAMS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

MANY = ["--max-connections=1000", "--max-connections-per-source=1000"]


def connection():
    """A TCP connection over loopback: the client's end, the server's end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def converse(client, *parts):
    """Sends the parts, reads replies meanwhile so that nothing blocks, and returns them."""
    replies = []

    def read():
        try:
            while data := client.recv(65536):
                replies.append(data)
        except ConnectionResetError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    for part in parts:
        client.sendall(part)
    client.shutdown(socket.SHUT_WR)
    reader.join()
    client.close()
    return b"".join(replies)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@contextlib.contextmanager
def server(*command):
    """A program that listens at 127.0.0.1:PORT, for which its arguments have a place. Yields the
    address."""
    address = f"127.0.0.1:{free_port()}"
    argv = [word.format(address=address, port=address.rsplit(":", 1)[1]) for word in command]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as p:
        try:
            deadline = time.monotonic() + 20
            while not is_listening(address):
                if p.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"bench: {' '.join(argv)} does not listen")
                time.sleep(0.05)
            yield address
        finally:
            p.terminate()


def is_listening(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except ConnectionRefusedError:
        return False
    return True
