"""A chat server for tests: speaks OpenAI's protocol over real sockets, and can misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What to do with a request: its number (from 1), and its body. None: answer it properly.
Plan = Callable[[int, dict[str, Any]], str | None]


class ChatServer(ThreadingHTTPServer):
    """``plan`` names the misbehaviour of each request: ``status 503``, ``status 429 after 0``,
    ``drop``, ``slow 2`` (seconds), ``html``, ``not json``, ``no choices``, ``too long``,
    ``unauthorized``, ``one`` (a single choice whatever ``n``).
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, plan: Plan = lambda number, body: None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan = plan
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.headers.append({k.lower(): v for k, v in self.headers.items()})
            server.times.append(time.monotonic())
            number = len(server.bodies)
        with suppress(BrokenPipeError, ConnectionResetError):  # a client that did not wait
            self._answer(body, (server.plan(number, body) or "well").split())

    def _answer(self, body: dict[str, Any], how: list[str]) -> None:
        match how:
            case ["drop"]:
                self.close_connection = True
                self.connection.close()
                return
            case ["status", code, *after]:
                wait = {"Retry-After": after[1]} if after else {}
                return self._send(int(code), json.dumps({"error": {"message": "busy"}}), wait)
            case ["html"]:
                return self._send(200, "<html>a gateway's page</html>", kind="text/html")
            case ["not", "json"]:
                return self._send(200, '{"choices": [{"mess')
            case ["no", "choices"]:
                return self._send(200, json.dumps({"id": "x", "choices": []}))
            case ["too", "long"]:
                said = "This model's maximum context length is 4096 tokens, you asked for 9000"
                return self._send(400, json.dumps({"error": {"message": said}}))
            case ["unauthorized"]:
                said = f"wrong key: {self.headers['Authorization']}"
                return self._send(401, json.dumps({"error": {"message": said}}))
            case ["slow", seconds]:
                time.sleep(float(seconds))
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        n = 1 if how == ["one"] else body.get("n", 1)
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", "content": f"{text} #{i} seed {body['seed']}"},
                "finish_reason": "length" if "cut" in text else "stop",
            }
            for i in range(n)
        ]
        usage = {"prompt_tokens": 9, "completion_tokens": 7 * n, "total_tokens": 9 + 7 * n}
        self._send(200, json.dumps({"id": "x", "choices": choices, "usage": usage}))

    def _send(
        self,
        status: int,
        text: str,
        headers: dict[str, str] | None = None,
        kind: str = "application/json",
    ) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
