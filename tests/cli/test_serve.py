"""`archipel serve`: from a run folder to answers over HTTP, until it is told to end."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

httpx = pytest.importorskip("httpx2")
pytest.importorskip("uvicorn")

PLAIN = ("--executor", "torch")


@pytest.fixture
def handlers() -> Iterator[None]:
    """None that would end the tests; afterwards those of before."""
    known = {one: signal.signal(one, lambda *_: None) for one in (signal.SIGINT, signal.SIGTERM)}
    yield
    for one, handler in known.items():
        signal.signal(one, handler)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_it_is_told_to_end(call: Any, finished: Any, port: int, ending: signal.Signals) -> None:
    file = io.BytesIO()
    Image.fromarray(finished.images[0].numpy()).save(file, "png")
    told: dict[str, Any] = {}

    def ask() -> None:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=20)) as client:
                told["answer"] = client.post("/predict", content=file.getvalue(), timeout=60)
                told["about"] = client.get("/", timeout=60)
        finally:
            os.kill(os.getpid(), ending)

    asking = threading.Thread(target=ask)
    asking.start()
    ended = call("serve", finished.path, "--port", port, "--threads", 1, "--model", "early_exit-B", *PLAIN)
    asking.join()
    assert ended.code == 0, ended.err
    assert "Model(early_exit, seed 0: 10 classes" in ended.out
    assert f"at http://127.0.0.1:{port}; post pictures to /predict" in ended.out
    assert told["answer"].status_code == 200
    assert told["answer"].json()["point"] == told["about"].json()["default"] == "B"
    assert told["about"].json()["run_by"]["executor"] == "torch"
    assert "Run by PyTorch" in ended.out


def test_a_port_that_is_taken(call: Any, finished: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = call("serve", finished.path, "--port", taken.getsockname()[1], *PLAIN)
    assert ended.code == 2
    assert "cannot be listened on" in ended.err
    assert "\n" not in ended.err.strip()


def test_no_run_and_a_queue_of_none(call: Any, finished: Any) -> None:
    assert "no such folder" in call("serve", "nowhere").err
    assert "queue is 0; give 1 or more" in call("serve", finished.path, "--queue", 0, *PLAIN).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--port -1", "--port is -1; give 1 to 65535, or 0 for one that is free"),
        ("--port 99999", "--port is 99999; give 1 to 65535"),
        ("--threads 0", "was given 0 threads; give 1 to"),
        ("--threads 100000", "was given 100000 threads; give 1 to"),
    ],
)
def test_ports_and_threads_that_cannot_be(call: Any, finished: Any, words: str, said: str) -> None:
    assert said in call("serve", finished.path, *words.split()).line


def test_without_the_packages_that_it_needs(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ended = call("serve", "nowhere")
    assert ended.code == 2
    assert "serving needs uvicorn, which is not installed; run: pip install 'archipel[serve]'" in ended.err
