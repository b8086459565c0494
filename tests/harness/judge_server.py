"""A real server that speaks OpenAI's protocol and judges by a simple rule, or misbehaves.

The rule reads the prompt as a model would have to: it finds question, reference and candidate
between the marks that carry the prompt's code, and compares the option or the last quantity.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What to do with the n-th request (from 0) for a prompt: the words to say, or one of these.
DROP, ERROR, REFUSE, GARBAGE, HANG = "\0drop", "\0error", "\0refuse", "\0garbage", "\0hang"
Behaviour = Callable[[str, int], str]

_TENS = {"thirty": 30, "forty": 40, "fifty": 50}
_UNITS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_QUANTITY = re.compile(
    r"\\frac\{(?P<a>-?\d+)\}\{(?P<b>\d+)\}|(?P<n>-?\d+(?:\.\d+)?)(?:\s*\\text\{)?\s*(?P<u>cm|m)?\b"
    r"|(?P<t>thirty|forty|fifty)-(?P<s>one|two|three|four|five|six|seven|eight)"
)


def parts(prompt: str) -> dict[str, str]:
    """Question, reference and candidate."""
    found = re.search(r"carry the code (\w+)", prompt)
    assert found, prompt
    pattern = rf"<(question|reference|candidate) {found[1]}>\n(.*?)\n</\1 {found[1]}>"
    return dict(re.findall(pattern, prompt, re.S))


def quantity(text: str) -> Fraction | None:
    """The last quantity of a text, a length in metres."""
    value = None
    for m in _QUANTITY.finditer(text):
        if m["a"]:
            value = Fraction(int(m["a"]), int(m["b"]))
        elif m["t"]:
            value = Fraction(_TENS[m["t"]] + _UNITS[m["s"]])
        else:
            value = Fraction(m["n"]) / (100 if m["u"] == "cm" else 1)
    return value


def judge(prompt: str, n: int = 0) -> str:
    """correct or incorrect, by the option or the last quantity."""
    material = parts(prompt)
    reference, candidate = material["reference"], material["candidate"]
    letter, _, text = reference.partition(": ")
    if text:
        right = bool(re.search(rf"\({letter}\)|^{letter}$", candidate)) or text in candidate
    else:
        right = quantity(candidate) is not None and quantity(candidate) == quantity(reference)
    return "correct" if right else "incorrect"


class JudgeServer:
    """``prompts`` holds every prompt that was received; ``behave`` may be replaced at any time."""

    def __init__(self, behave: Behaviour = judge) -> None:
        self.behave = behave
        self.prompts: list[str] = []
        self.keys: set[str] = set()
        self.closing = threading.Event()
        self.outwaited = False  # whether a client waited until a request that hung was dropped
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def answer(self, prompt: str) -> str:
        with self._lock:
            n = self.prompts.count(prompt)
            self.prompts.append(prompt)
        return self.behave(prompt, n)

    def stop(self) -> None:
        """Gone: connections are refused from now on."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def start(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()


@contextmanager
def serve(behave: Behaviour = judge) -> Iterator[JudgeServer]:
    """A running server on a free port."""
    server = JudgeServer(behave)
    server.start()
    try:
        yield server
    finally:
        if not server.closing.is_set():
            server.stop()


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if server.closing.is_set():
                return self._drop()
            server.keys.add(self.headers.get("Authorization", ""))
            content = body["messages"][-1]["content"]
            if not isinstance(content, str):
                content = "".join(piece["text"] for piece in content)
            assert body["temperature"] == 0
            said = server.answer(content)
            if said == DROP:
                return self._drop()
            if said == HANG:
                server.outwaited |= not server.closing.wait(60)
                return self._drop()
            if said == ERROR:
                return self._send(500, {"error": {"message": "out of order"}})
            if said == REFUSE:
                return self._send(400, {"error": {"message": "this prompt is not served"}})
            if said == GARBAGE:
                return self._send(200, None)
            words = said.split()
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": " ".join(words[: body["max_tokens"]])},
                "finish_reason": "stop" if len(words) <= body["max_tokens"] else "length",
            }
            return self._send(
                200,
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": int(time.time()),
                    "model": body["model"],
                    "choices": [choice],
                    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
                },
            )

        def _send(self, status: int, answer: Any) -> None:
            content = b"<html>no JSON" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _drop(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
