"""A model server: it has an agent write one file, then says goodbye. A thread of the test runs it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """Where it listens, and what it was sent: the key, and the messages of each turn."""

    port: int
    turns: list[tuple[str, list[dict[str, str]]]] = field(default_factory=list)


@contextmanager
def model_server() -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            served.turns.append((self.headers.get("x-api-key", ""), asked["messages"]))
            done = asked["messages"][-1]["role"] == "tool"
            answer = {"text": "goodbye"} if done else {"write": "answer.txt", "contents": "42\n"}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Served(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
