# SPDX-License-Identifier: MIT
"""A web server of a test's own, for programs that send something by HTTP."""

import http.server
import threading

import pytest


class Web:
    """A server that keeps what it is sent, and answers with a status and a body."""

    def __init__(self):
        self.requests, self.status, self.answer = [], 200, b"{}"
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.requests.append((self.command, self.path, self.headers, body))
                self.send_response(web.status)
                self.send_header("Content-Length", str(len(web.answer)))
                self.end_headers()
                self.wfile.write(web.answer)

            do_PUT = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,)).start()


@pytest.fixture
def web():
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()
