# SPDX-License-Identifier: MIT
"""A super-server that accepts and starts smtpd: the test itself."""

import socket
import subprocess
import threading

from session import PATIENCE, environment


class Direct:
    """The test itself accepts and starts smtpd, as a super-server does."""

    def __init__(self, argv, err):
        self.argv, self.err = argv, err
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.children = []
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.children.append(
                    subprocess.Popen(self.argv, stdin=connection, stdout=connection,
                                     stderr=self.err, env=environment())
                )

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)
        statuses = [child.wait(PATIENCE) for child in self.children]
        assert statuses == [0] * len(statuses)
