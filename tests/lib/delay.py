# SPDX-License-Identifier: MIT
"""A relay that is far away: whatever comes to it goes on after a while, in both directions.

    with Delay(("127.0.0.1", 2525), seconds=0.025) as relay:          # a round trip takes 50 ms
        socket.create_connection(relay.address)"""

import queue
import socket
import threading
import time


class Delay:
    def __init__(self, to, seconds):
        self.to, self.seconds = to, seconds
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept(); connections end with their ends
        self.listener.close()

    def accept(self):
        while True:
            try:
                near, far = self.listener.accept()[0], socket.create_connection(self.to)
            except OSError:
                return
            for a, b in ((near, far), (far, near)):
                a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                under_way = queue.SimpleQueue()
                threading.Thread(target=self.take, args=(a, under_way), daemon=True).start()
                threading.Thread(target=self.give, args=(b, under_way), daemon=True).start()

    def take(self, sock, under_way):
        chunk = b"-"
        while chunk:
            try:
                chunk = sock.recv(1 << 16)
            except OSError:
                chunk = b""
            under_way.put((time.monotonic() + self.seconds, chunk))

    @staticmethod
    def give(sock, under_way):
        while True:
            due, chunk = under_way.get()
            time.sleep(max(0, due - time.monotonic()))
            try:
                sock.sendall(chunk) if chunk else sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has gone, and the other end hears of it
            if not chunk:
                return
