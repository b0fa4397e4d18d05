"""A model behind HTTP: an image in; its class, what answered it, and how long that took out."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from archipel.deploy.batching import Batcher, Batching, Busy, Reply
from archipel.deploy.manifest import Point
from archipel.deploy.model import Model
from archipel.errors import ArchipelError, DataError
from archipel.tasks.decoding import UNREADABLE

__all__ = ["Limits", "application"]

TOP = 5
"""Classes whose probabilities are told."""

SMALL_BYTES, SMALL_PIXELS = 2**16, 2**16
"""A picture file of at most so many bytes, and as many pixels, is decoded where requests are read: handing it to
another thread and back takes longer than that."""


@dataclass(frozen=True)
class Limits:
    """What is too large."""

    bytes: int = 10_000_000
    """Of a request."""
    pixels: int = 50_000_000
    """Of a picture."""


class TooLarge(Exception):
    """A request or a picture that is not looked at."""


class _Metrics:
    """What `/metrics` tells, of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "archipel_requests", "Answered requests for a prediction, by status.", ["status"], **own
        )
        self.children = Counter("archipel_children", "Images, by the network that answered.", ["child"], **own)
        self.seconds = Histogram(
            "archipel_request_seconds",
            "From the first byte of a request to its answer.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
            **own,
        )
        self.batch = Histogram(
            "archipel_batch_images", "Images run together.", buckets=tuple(2**i for i in range(10)), **own
        )
        self.queue = Gauge("archipel_queue_images", "Images that wait.", **own)


def application(model: Model, batching: Batching | None = None, limits: Limits | None = None) -> Starlette:
    """The server of a model.

    `POST /predict` takes the bytes of a picture, or a form with one file; `?target_ms=` or `?point=` says how fast or
    which point of the frontier. `GET /` says what is served, `/health` whether, `/metrics` how (Prometheus).
    What a caller can mend is answered with one line: 400, too large 413, too many at once 503 with `Retry-After`.
    """
    serving = _Serving(model, batching or Batching(), limits or Limits())
    routes = [
        Route("/", serving.about),
        Route("/predict", serving.predict, methods=["POST"]),
        Route("/health", serving.health),
        Route("/metrics", serving.metrics),
    ]
    return Starlette(routes=routes, lifespan=serving.lifespan)


class _Serving:
    def __init__(self, model: Model, batching: Batching, limits: Limits) -> None:
        self.model, self.batching, self.limits = model, batching, limits
        self._told = _Metrics()
        self._batcher: Batcher | None = None

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        batcher = self._batcher = Batcher(self.model, self.batching, self._told.batch.observe)
        self._told.queue.set_function(lambda: batcher.waiting)
        batcher.start()
        try:
            yield
        finally:
            await batcher.close()

    async def about(self, _: Request) -> Response:
        model, device = self.model, self.model.manifest.device
        points = [
            {"name": point.name, "predicted_ms": point.ms, "val_accuracy": point.accuracy}
            for point in model.points
            if point.name is not None
        ]
        return JSONResponse(
            {
                "model": model.kind,
                "seed": model.seed,
                "run": model.manifest.title,
                "classes": model.classes,
                "points": points,
                "default": model.at().name,
                "fastest_ms": model.points[0].ms,
                "predicted_on": device["name"],
                "run_by": model.executors.to_json(),
                "post_images_to": "/predict",
            }
        )

    async def health(self, _: Request) -> Response:
        ready = self._batcher is not None and self._batcher.is_open
        waiting = 0 if self._batcher is None else self._batcher.waiting
        return JSONResponse({"ready": ready, "waiting": waiting}, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._told.registry), media_type=CONTENT_TYPE_LATEST)

    async def predict(self, request: Request) -> Response:
        begin = time.perf_counter()
        response = await self._answered(request, begin)
        self._told.requests.labels(response.status_code).inc()
        self._told.seconds.observe(time.perf_counter() - begin)
        return response

    async def _answered(self, request: Request, begin: float) -> Response:
        assert self._batcher is not None
        try:
            point = self._point(request)
            pixels = await self._pixels(await self._picture(request))
            reply = await self._batcher.answer(pixels, point)
        except TooLarge as error:
            return _refused(413, error)
        except Busy as error:
            return _refused(503, error, {"Retry-After": str(error.seconds)})
        except ClientDisconnect:
            return _refused(400, "the request ended before its picture did")
        except ArchipelError as error:
            return _refused(400, error)
        if self.model.children:  # a controller's architectures are too many to count apart
            self._told.children.labels(reply.prediction.child).inc()
        return JSONResponse(self._content(reply, point, begin))

    def _point(self, request: Request) -> Point:
        query = request.query_params
        for name in query:
            if name not in ("target_ms", "point"):
                raise DataError(f"there is no parameter '{name}'; give target_ms or point")
        if "target_ms" in query and "point" in query:
            raise DataError("target_ms and point are given; give one of them")
        if "target_ms" not in query:
            return self.model.at(query.get("point"))
        try:
            target = float(query["target_ms"])
        except ValueError:
            raise DataError(f"target_ms is '{query['target_ms']}'; give milliseconds, such as 0.5") from None
        return self.model.at(target)

    async def _picture(self, request: Request) -> bytes:
        """The bytes of the picture file in a request."""
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > self.limits.bytes:
                raise TooLarge(f"the request is larger than {self.limits.bytes:,} bytes")
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            if not content:
                raise DataError("the request is empty; send the bytes of a picture")
            return bytes(content)

        async def stream() -> AsyncGenerator[bytes, None]:
            yield bytes(content)

        try:
            form = await MultiPartParser(request.headers, stream()).parse()
        except MultiPartException as error:
            raise DataError(f"the form cannot be read: {error.message}") from error
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise DataError(f"the form holds {len(files)} files; send one picture")
        return await files[0].read()

    async def _pixels(self, content: bytes) -> Tensor:
        if len(content) <= SMALL_BYTES and self._count(content) <= SMALL_PIXELS:
            return self.model.inputs.pixels(content)
        return await run_in_threadpool(self._large, content)

    def _large(self, content: bytes) -> Tensor:
        self._count(content)
        return self.model.inputs.pixels(content)

    def _count(self, content: bytes) -> int:
        """How many pixels a picture has, by its header; 0 of what is none.

        Raises:
            TooLarge: more than are looked at.
        """
        with contextlib.suppress(*UNREADABLE), Image.open(io.BytesIO(content)) as picture:
            count = int(picture.width * picture.height)
            if count > self.limits.pixels:
                raise TooLarge(
                    f"the picture has {picture.width} × {picture.height} pixels, more than {self.limits.pixels:,}"
                )
            return count
        return 0

    def _content(self, reply: Reply, point: Point, begin: float) -> dict[str, Any]:
        said, most = reply.prediction, reply.probabilities.argsort()[::-1][:TOP]
        return {
            "label": said.label,
            "index": said.index,
            "probabilities": {self.model.classes[i]: float(reply.probabilities[i]) for i in most},
            "child": said.child,
            "point": point.name,
            "latency_ms": {
                "predicted": said.latency_ms,
                "measured": reply.measured_ms,
                "request": (time.perf_counter() - begin) * 1000.0,
            },
            "batch": reply.batch,
        }


def _refused(status: int, why: object, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": " ".join(str(why).split())}, status, headers)
