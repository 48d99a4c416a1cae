# SPDX-License-Identifier: MIT
"""A HAProxy, or an nginx, before an acceptor."""

import os
import socket
import subprocess

from conftest import missing, need
from logs import lines
from session import environment, free_port, stop, wait_until

DEFAULTS = "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Balancer:
    """A context manager. It listens when it has begun."""

    def __init__(self, folder, text, *ports):
        self.log_path = folder / "balancer.log"
        (folder / "balancer.cfg").write_text(text)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.argv(folder / "balancer.cfg"),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment())
        try:
            for port in ports:
                wait_until(lambda port=port: self.has_begun(port), "the balancer to listen")
        except BaseException:
            stop(self.process)
            raise

    def has_begun(self, port):
        assert self.process.poll() is None, self.log()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)

    def log(self):
        return self.log_path.read_text(errors="replace")


class Haproxy(Balancer):
    def argv(self, configuration):
        return [need("haproxy"), "-db", "-f", configuration]


class Nginx(Balancer):
    def argv(self, configuration):
        program = need("nginx")
        if not os.path.exists(NGINX_STREAM):
            missing("nginx's module for TCP is not installed")
        return [program, "-c", configuration, "-e", "stderr"]


def port_of(acceptor, i=0):
    return int(acceptor.addresses[i].rsplit(":", 1)[1])


def one_server(folder, acceptor, server, bind="", more="", i=0):
    port = free_port()
    text = f"{DEFAULTS}listen smtp\n    bind 127.0.0.1:{port} {bind}\n{more}    server mx 127.0.0.1:{port_of(acceptor, i)} {server}\n"
    return Haproxy(folder, text, port), f"127.0.0.1:{port}"


def messages(acceptor):
    return [line for line in lines(acceptor.err(), "message")]


def deliver(client):
    assert client.send_message(b"Subject: x\r\n\r\ntext\r\n") == b"250 2.0.0 printed"
    client.quit()
