"""The two questions that `flinkrec serve` asks Flink's REST interface, answered on a port of this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeFlink:
    """A cluster that runs one job of the default name, whose parameters are as `parameters` says."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        answers = {
            "/jobs/overview": lambda: {"jobs": [{"jid": "0a", "name": "flinkrec", "state": "RUNNING"}]},
            "/jobs/0a/config": lambda: {"execution-config": {"user-config": self.parameters}},
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answers[self.path]()).encode())

            def log_message(self, *_: object) -> None:
                """Nothing is said."""

        self._server = ThreadingHTTPServer(("localhost", 0), Handler)
        self.address = f"localhost:{self._server.server_port}"

    def __enter__(self) -> FakeFlink:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
