"""The `openai` engine against servers that speak its protocol, well and badly, and vLLM's own."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backends.base.engine import EngineError, Request, Sampling, Server
from benchmarks.data.pictures import read_picture

pytest.importorskip("openai", reason="the extra openai is not installed")

import backends.engines.openai as module
from backends.engines.openai import OpenAIEngine

sys.path.insert(0, str(Path(__file__).parent))
from chat_server import ChatServer

ASKED = [Request(f"r{i}", f"question {i}") for i in range(8)]
GREEDY = Sampling(max_tokens=16)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.02)


def engine(server: ChatServer, **settings: object) -> OpenAIEngine:
    given = {"concurrency": 4, "timeout": 10.0, "retries": 3} | settings
    return OpenAIEngine(server.url, "some/model", **given)  # type: ignore[arg-type]


def test_what_is_sent_and_what_comes_back(picture: Callable[..., bytes], tmp_path: Path) -> None:
    on_disk = tmp_path / "b.png"
    on_disk.write_bytes(picture(2))
    request = Request("r", "please cut", (picture(1), on_disk), system="You count.")
    sampling = Sampling(n=3, temperature=0.7, top_p=0.9, max_tokens=5, seed=1)
    with ChatServer() as server:
        ((index, responses),) = engine(server).generate([request], sampling)
    (body,) = server.bodies
    assert index == 0
    assert [r.text.split(" seed")[0] for r in responses] == [f"please cut #{i}" for i in range(3)]
    assert {(r.finish, r.length, r.tokens, r.logp) for r in responses} == {("length", 7, (), ())}
    system, user = body.pop("messages")
    assert system == {"role": "system", "content": "You count."}
    urls = [part["image_url"]["url"] for part in user["content"][:2]]
    sent = [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls]
    assert sent == [picture(1), picture(2)]
    assert user["content"][2:] == [{"type": "text", "text": "please cut"}]
    assert isinstance(body.pop("seed"), int)
    assert body == {
        "model": "some/model",
        "n": 3,
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 5,
    }


def test_pictures_are_sent_where_the_text_has_them(picture: Callable[..., bytes]) -> None:
    images = (picture(1), picture(2))
    with ChatServer() as server:
        list(engine(server).generate([Request("r", "Is <image> <image>?", images)], GREEDY))
    content = server.bodies[0]["messages"][0]["content"]
    assert [part.get("text") for part in content] == ["Is ", None, " ", None, "?"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert [base64.b64decode(u.partition("base64,")[2]) for u in urls] == [*images]


def test_greedy_asks_once_and_samples_are_seeded_by_request() -> None:
    with ChatServer() as server:
        one = engine(server)
        (greedy,) = dict(one.generate(ASKED[:1], Sampling(n=3, max_tokens=4))).values()
        assert len(greedy) == 3
        assert len(server.bodies) == 1
        assert server.bodies[0]["temperature"] == 0
        assert "n" not in server.bodies[0]

        def texts(seed: int) -> dict[int, str]:
            sampling = Sampling(temperature=1.0, seed=seed)
            return {i: r[0].text for i, r in one.generate(ASKED, sampling)}

        assert texts(0) == texts(0)
        assert len({*texts(0).values(), *texts(1).values()}) == 2 * len(ASKED)


def test_a_server_that_knows_no_n_is_asked_again_for_the_rest() -> None:
    with ChatServer(lambda number, body: "one") as server:
        sampling = Sampling(n=3, temperature=1.0)
        (found,) = dict(engine(server).generate(ASKED[:1], sampling)).values()
    assert len({r.text for r in found}) == 3
    assert [body.get("n", 1) for body in server.bodies] == [3, 2, 1]


def test_transparent_parts_are_white_and_rare_formats_are_sent_as_png() -> None:
    clear = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    grey = Image.fromarray(np.full((28, 28), 99, np.uint8))
    files = []
    for image, kind in ((clear, "PNG"), (grey, "BMP")):
        out = io.BytesIO()
        image.save(out, kind)
        files.append(out.getvalue())
    with ChatServer() as server:
        list(engine(server).generate([Request("r", "q", tuple(files))], GREEDY))
    parts = server.bodies[0]["messages"][0]["content"][:2]
    urls = [part["image_url"]["url"] for part in parts]
    sent = [Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))) for url in urls]
    assert [image.format for image in sent] == ["PNG", "PNG"]
    assert [image.getpixel((3, 3)) for image in sent] == [(255, 255, 255), (99, 99, 99)]


@pytest.mark.parametrize(
    "trouble",
    [
        *("status 500", "status 503", "status 429", "status 429 after 0", "status 408"),
        *("drop", "html", "not json", "no choices", "slow 1.2"),
    ],
)
def test_what_may_pass_is_tried_again(trouble: str) -> None:
    """Every third request meets it; all are answered in the end, each with its own text."""
    with ChatServer(lambda number, body: trouble if number % 3 == 1 else None) as server:
        found = dict(engine(server, timeout=0.6, retries=8).generate(ASKED, GREEDY))
    assert {i: r[0].text.split(" #")[0] for i, r in found.items()} == {
        i: request.text for i, request in enumerate(ASKED)
    }
    assert len(server.bodies) > len(ASKED)


def test_a_server_that_stays_away_is_given_up_with_the_reason_and_keeps_what_came() -> None:
    def plan(number: int, body: dict[str, object]) -> str | None:
        return "status 503" if "question 5" in str(body) else None

    came: list[int] = []
    with ChatServer(plan) as server:
        asking = engine(server, concurrency=2, retries=2).generate(ASKED, GREEDY)
        with pytest.raises(EngineError) as failed:
            came.extend(index for index, _ in asking)
    assert set(range(5)) <= set(came)
    assert 5 not in came
    assert "failed 3 times on request 'r5'" in str(failed.value)
    assert "503" in str(failed.value)
    assert sum("question 5" in str(body) for body in server.bodies) == 3
    assert isinstance(failed.value.__cause__, Exception)


def test_pauses_grow_and_the_servers_own_is_kept() -> None:
    assert [round(module._pause(k, "") / 0.02) for k in range(4)] == pytest.approx(
        [1, 2, 4, 8], rel=0.5
    )
    assert module._pause(0, "7") == 7
    assert module._pause(0, "9999") == module._pause(30, "9999") == 30
    with ChatServer(lambda n, body: "status 429 after 0.5" if n == 1 else None) as server:
        list(engine(server).generate(ASKED[:1], GREEDY))
    assert server.times[1] - server.times[0] >= 0.5


def test_a_server_that_is_not_there_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EngineError, match=rf"{url} failed 2 times.*Connection error"):
        list(OpenAIEngine(url, "m", retries=1).generate(ASKED, GREEDY))


def test_a_prompt_that_is_too_long_is_dropped_and_the_rest_answered() -> None:
    with ChatServer(lambda n, body: "too long" if "question 2" in str(body) else None) as server:
        found = dict(engine(server).generate(ASKED, GREEDY))
    assert found.pop(2) == []
    assert len(found) == 7
    assert len(server.bodies) == len(ASKED), "a prompt that is too long was asked again"


def test_the_key_goes_to_the_server_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-you")
    monkeypatch.setenv("OWN_KEY", "sesame-42")
    with ChatServer() as server:
        list(engine(server).generate(ASKED[:1], GREEDY))
        assert "not-for-you" not in str(server.headers)
        list(engine(server, api_key_env="OWN_KEY").generate(ASKED[:1], GREEDY))
        assert server.headers[-1]["authorization"] == "Bearer sesame-42"
    with ChatServer(lambda n, body: "unauthorized") as server:
        with pytest.raises(EngineError, match="wrong key") as failed:
            list(engine(server, api_key_env="OWN_KEY").generate(ASKED[:1], GREEDY))
        assert "sesame-42" not in str(failed.value)
        assert len(server.bodies) == 1, "a refusal was asked again"
        with pytest.raises(EngineError, match="NO_SUCH_KEY holds no key"):
            engine(server, api_key_env="NO_SUCH_KEY")


def test_requests_are_under_way_together_and_no_more_than_asked() -> None:
    there, most = [0], [0]
    together, lock = threading.Barrier(4), threading.Lock()

    def meet(number: int, body: dict[str, object]) -> None:
        with lock:
            there[0] += 1
            most[0] = max(most[0], there[0])
        together.wait()
        with lock:
            there[0] -= 1

    with ChatServer(meet) as server:
        list(engine(server, concurrency=4, timeout=120).generate(ASKED, GREEDY))
    assert most == [4]


def test_who_stops_listening_does_not_wait() -> None:
    left, answered = threading.Event(), []

    def hold(number: int, body: dict[str, object]) -> None:
        if number > 1:
            left.wait(60)
            answered.append(number)

    with ChatServer(hold) as server:
        asking = engine(server, concurrency=2, timeout=120).generate(ASKED, GREEDY)
        next(asking)
        asking.close()  # type: ignore[attr-defined]
        assert not answered
        left.set()
        time.sleep(0.1)
        assert len(server.bodies) <= 3


def test_a_server_sees_the_pixels_that_the_other_engines_see() -> None:
    """A photograph that lies on its side, and grey of 16 bits; one that is upright stays a file."""
    upright, lying = Image.Exif(), Image.Exif()
    upright[0x0112], lying[0x0112] = 1, 6
    ramp = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(4, 16)
    photograph = Image.new("RGB", (32, 16), "red")
    photograph.paste("blue", (0, 0, 8, 8))
    files = []
    for image, kind, more in (
        (photograph, "JPEG", {"exif": upright}),
        (photograph, "JPEG", {"exif": lying}),
        (Image.fromarray(ramp), "PNG", {}),
    ):
        out = io.BytesIO()
        image.save(out, kind, **more)
        files.append(out.getvalue())
    with ChatServer() as server:
        list(engine(server).generate([Request("r", "?", tuple(files))], GREEDY))
    parts = server.bodies[0]["messages"][0]["content"][:3]
    urls = [part["image_url"]["url"] for part in parts]
    sent = [base64.b64decode(url.partition(",")[2]) for url in urls]
    assert sent[0] == files[0]
    assert [url.partition(";")[0] for url in urls[1:]] == ["data:image/png"] * 2
    for one, two in zip(sent[1:], files[1:], strict=True):
        seen = Image.open(io.BytesIO(one)).convert("RGB")  # as a server does
        assert np.array_equal(np.asarray(seen), np.asarray(read_picture(two)))


def test_marks_that_are_not_the_pictures_are_named(picture: Callable[..., bytes]) -> None:
    with (
        ChatServer() as server,
        pytest.raises(EngineError, match="'r': its text has 1 <image> for"),
    ):
        list(engine(server).generate([Request("r", "<image>?", (picture(1),) * 2)], GREEDY))


def test_a_picture_that_cannot_be_read_is_named() -> None:
    with ChatServer() as server, pytest.raises(EngineError, match=r"'r'.*picture \(3 bytes\)"):
        list(engine(server).generate([Request("r", "q", (b"abc",))], GREEDY))


# ------------------------------------------------------------------------------- vLLM's own server


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """vLLM's own server over the tiny base, as a user would start it."""
    from benchmarks import tiny

    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(tiny.checkpoint()), "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "1024", "--max-num-seqs", "8"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_MM_HASHER_ALGORITHM": "sha256"}
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            env=os.environ | settings,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        if said := _wait_until_ready(process, port):
            last = log.read_text().strip().splitlines()[-1:]
            pytest.skip(f"vLLM's server does not start here: {said}: {' '.join(last)[-200:]}")
        yield Server(base_url=f"http://127.0.0.1:{port}/v1", model="tiny", timeout=120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> str | None:
    """Why the server is not there; None: it is."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            return f"exit code {process.returncode}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return None
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    return "not ready in 120 s"


@pytest.mark.slow
def test_vllms_own_server_answers_as_the_hf_engine_does(
    vllm_server: Server, picture: Callable[..., bytes]
) -> None:
    from backends.engines.hf import HFEngine
    from benchmarks import tiny

    asked = [
        Request("a", "What is 1+2?"),
        Request("b", "Which?", (picture(1),)),
        Request("c", "How many?", (picture(2), picture(3)), "You count."),
        Request("long", "a b " * 2000),
    ]
    ours = dict(OpenAIEngine.at(vllm_server).generate(asked, GREEDY))
    theirs = dict(HFEngine.from_path(tiny.checkpoint()).generate(asked[:3], GREEDY))
    assert ours.pop(3) == []
    for i, (expected,) in theirs.items():
        (found,) = ours[i]
        assert (found.text, found.finish) == (expected.text, expected.finish)
        assert found.length == len(expected.tokens)
    several = Sampling(n=3, temperature=1.5, max_tokens=8)
    (group,) = dict(OpenAIEngine.at(vllm_server).generate(asked[:1], several)).values()
    assert len(group) == 3
