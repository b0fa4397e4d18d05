"""The server and its queue: what it answers to good and hostile requests, at once and too many, and how it ends."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from archipel.deploy.executors import Executors
from archipel.deploy.images import Inputs
from archipel.deploy.manifest import Point
from archipel.deploy.model import Predictions
from archipel.errors import OptionError

pytest.importorskip("httpx2")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

from archipel.deploy.batching import Batcher, Batching, Busy
from archipel.deploy.server import Limits, application

A, B = Point("A", 2.0, 0.9), Point("B", 1.0, 0.8)


class Brightness:
    """Says "light" or "dark"; waits where it is told to, and notes every batch."""

    kind, seed, classes, points, children = "brightness", 0, ("dark", "light"), (B, A), ("eye",)
    inputs = Inputs(1, 4, (0.0,), (1.0,))
    manifest = SimpleNamespace(title="Brightness", device={"name": "cpu"})
    executors = Executors({"eye": None})  # type: ignore[dict-item]

    def __init__(self) -> None:
        self.batches: list[tuple[str | None, int]] = []
        self.go = threading.Event()
        self.go.set()

    def at(self, target: float | str | None = None) -> Point:
        if target is None or target == "A":
            return A
        if target == "B" or (isinstance(target, float) and target >= B.ms):
            return B
        raise OptionError(f"nothing is as fast as {target}")

    def answer(self, pixels: Tensor, point: Point) -> Predictions:
        self.go.wait(10)
        self.batches.append((point.name, len(pixels)))
        light = pixels.float().mean((1, 2, 3)).numpy() / 255
        probabilities = np.stack([1 - light, light], 1)
        return Predictions(self.classes, probabilities, ("eye",) * len(pixels), np.full(len(pixels), point.ms))


def picture(level: int, *, mode: str = "L", size: tuple[int, int] = (9, 5), kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.new("L", size, level).convert(mode).save(file, kind)
    return file.getvalue()


def served(limits: Limits | None = None) -> TestClient:
    return TestClient(application(Brightness(), limits=limits))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(Limits(20_000, 10_000)) as client:
        yield client


class TestAnswers:
    def test_the_bytes_of_a_picture(self, client: TestClient) -> None:
        response = client.post("/predict", content=picture(255))
        assert response.status_code == 200
        said = response.json()
        assert (said["label"], said["index"], said["child"], said["point"], said["batch"]) == (
            "light",
            1,
            "eye",
            "A",
            1,
        )
        assert said["probabilities"] == {"light": 1.0, "dark": 0.0}
        assert said["latency_ms"]["predicted"] == 2.0
        assert 0 < said["latency_ms"]["measured"] <= said["latency_ms"]["request"]

    def test_a_form_with_a_file(self, client: TestClient) -> None:
        response = client.post("/predict", files={"image": ("dark.png", picture(0), "image/png")}, data={"why": "so"})
        assert response.json()["label"] == "dark"

    @pytest.mark.parametrize("query", ["point=B", "target_ms=1.5"])
    def test_as_fast_as_the_request_asks(self, client: TestClient, query: str) -> None:
        assert client.post(f"/predict?{query}", content=picture(9)).json()["point"] == "B"

    @pytest.mark.parametrize("mode", ["1", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
    def test_pictures_of_every_mode(self, client: TestClient, mode: str) -> None:
        content = picture(0, mode=mode, kind="tiff")
        assert client.post("/predict", content=content).json()["label"] == "dark"

    def test_pictures_of_every_size(self) -> None:
        """Decoded where requests are read, or in a thread."""
        with served() as client:
            for size in (1, 1), (256, 256), (257, 256), (3000, 2000):
                for level, label in (0, "dark"), (255, "light"):
                    assert client.post("/predict", content=picture(level, size=size)).json()["label"] == label

    def test_what_is_served(self, client: TestClient) -> None:
        about = client.get("/").json()
        assert about["classes"] == ["dark", "light"]
        assert [point["name"] for point in about["points"]] == ["B", "A"]
        assert (about["default"], about["fastest_ms"]) == ("A", 1.0)
        assert about["run_by"] == {"executor": "eye", "why": None}
        assert client.get("/health").json() == {"ready": True, "waiting": 0}

    def test_what_is_counted(self, client: TestClient) -> None:
        def counted() -> dict[str, float]:
            lines = client.get("/metrics").text.splitlines()
            return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if not line.startswith("#")}

        before = counted()
        client.post("/predict", content=picture(255))
        client.post("/predict", content=b"no picture")
        after = counted()
        for name in ('archipel_requests_total{status="200"}', 'archipel_children_total{child="eye"}'):
            assert after[name] == before.get(name, 0.0) + 1
        name = 'archipel_requests_total{status="400"}'
        assert after[name] == before.get(name, 0.0) + 1
        assert after["archipel_batch_images_count"] == before["archipel_batch_images_count"] + 1


class TestHostileRequests:
    @pytest.mark.parametrize(
        ("query", "content", "status", "said"),
        [
            ("", b"", 400, "the request is empty"),
            ("", b"no picture", 400, "no picture of a known format"),
            ("", picture(0)[:40], 400, "cannot be read"),
            ("", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 400, "cannot be read"),
            ("", b"0" * 20_001, 413, "larger than 20,000 bytes"),
            ("", picture(0, size=(101, 100)), 413, "101 × 100 pixels, more than 10,000"),
            ("?target_ms=0.1", picture(0), 400, "nothing is as fast"),
            ("?target_ms=fast", picture(0), 400, "target_ms is 'fast'"),
            ("?point=A&target_ms=3", picture(0), 400, "give one of them"),
            ("?taget_ms=3", picture(0), 400, "there is no parameter 'taget_ms'"),
        ],
    )
    def test_one_line(self, client: TestClient, query: str, content: bytes, status: int, said: str) -> None:
        response = client.post(f"/predict{query}", content=content)
        assert response.status_code == status
        assert said in response.json()["error"]
        assert "\n" not in response.json()["error"]

    def test_forms_that_are_none(self, client: TestClient) -> None:
        two = [("image", picture(0)), ("image", picture(0))]
        assert client.post("/predict", files=two).json()["error"] == "the form holds 2 files; send one picture"
        broken = client.post("/predict", content=b"--x\r\n\r\n", headers={"content-type": "multipart/form-data"})
        assert broken.status_code == 400

    def test_a_wrong_method_and_a_wrong_place(self, client: TestClient) -> None:
        assert client.get("/predict").status_code == 405
        assert client.get("/else").status_code == 404


class TestBatching:
    """All in one event loop; while a batch runs the others gather."""

    IMAGE = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)

    def test_what_waits_is_run_together_each_point_apart(self) -> None:
        model = Brightness()

        async def work() -> list[Any]:
            batcher = Batcher(model, Batching(max_batch=4))  # type: ignore[arg-type]
            batcher.start()
            asked = [batcher.answer(self.IMAGE + i, point) for i, point in enumerate([A, A, B, A, A, A])]
            replies = await asyncio.gather(*asked)
            await batcher.close()
            return replies

        replies = asyncio.run(work())
        assert model.batches == [("A", 3), ("B", 1), ("A", 2)]
        assert [reply.batch for reply in replies] == [3, 3, 1, 3, 2, 2]
        assert [reply.probabilities[1] for reply in replies] == pytest.approx([i / 255 for i in range(6)])

    def test_a_full_queue_refuses_and_says_when_to_come_again(self) -> None:
        model = Brightness()
        model.go.clear()

        async def work() -> tuple[int, int]:
            batcher = Batcher(model, Batching(max_batch=1, queue=3))  # type: ignore[arg-type]
            batcher.start()
            waiting = [asyncio.create_task(batcher.answer(self.IMAGE, A))]
            await asyncio.sleep(0)
            while batcher.waiting:  # until the first is being run
                await asyncio.sleep(0.001)
            waiting += [asyncio.create_task(batcher.answer(self.IMAGE, A)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(Busy) as error:
                await batcher.answer(self.IMAGE, A)
            model.go.set()
            replies = await asyncio.gather(*waiting)
            assert (await batcher.answer(self.IMAGE, A)).batch == 1  # there is room again
            await batcher.close()
            return error.value.seconds, len(replies)

        assert asyncio.run(work()) == (1, 4)

    def test_closing_answers_all_that_waits_and_takes_no_more(self) -> None:
        model = Brightness()
        model.go.clear()

        async def work() -> int:
            batcher = Batcher(model, Batching(max_batch=2, queue=8))  # type: ignore[arg-type]
            batcher.start()
            waiting = [asyncio.create_task(batcher.answer(self.IMAGE, A)) for _ in range(8)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(batcher.close())
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await batcher.answer(self.IMAGE, A)
            model.go.set()
            replies = await asyncio.gather(*waiting)
            await closing
            return len(replies)

        assert asyncio.run(work()) == 8

    def test_a_batch_that_fails_fails_alone(self) -> None:
        model = Brightness()

        async def work() -> None:
            batcher = Batcher(model, Batching())  # type: ignore[arg-type]
            batcher.start()
            with pytest.raises(TypeError):
                await batcher.answer(None, A)  # type: ignore[arg-type]
            assert (await batcher.answer(self.IMAGE, A)).prediction.label == "dark"
            await batcher.close()

        asyncio.run(work())

    def test_whoever_waits_a_while_is_joined(self) -> None:
        model = Brightness()

        async def work() -> None:
            batcher = Batcher(model, Batching(max_batch=2, max_wait_ms=5_000))  # type: ignore[arg-type]
            batcher.start()
            first = asyncio.create_task(batcher.answer(self.IMAGE, A))
            await asyncio.sleep(0.01)
            await asyncio.gather(first, batcher.answer(self.IMAGE, A))
            await batcher.close()

        asyncio.run(work())
        assert model.batches == [("A", 2)]

    @pytest.mark.parametrize("wrong", [{"max_batch": 0}, {"queue": 0}, {"max_wait_ms": -1.0}])
    def test_what_a_setting_cannot_be(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(OptionError, match=next(iter(wrong)).replace("_", "-")):
            Batching(**wrong)
