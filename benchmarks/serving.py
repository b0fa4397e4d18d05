"""`archipel serve` under load on this machine: errors, latency below saturation, refusals above it, memory, its end.

    python benchmarks/serving.py RUN [--model instanas] [--executor torch] [--requests 10000] [--json serving.json]

The server is a process of its own, with the threads that the run had; the client, one process too, keeps connections
open and posts the run's own test images as PNG. In turn:

- saturated: 32 clients that ask again at once: requests a second, images a batch;
- below saturation: requests at random moments (Poisson), half as many a second: median and 99th percentile, from when
  a request should have begun, so that a late client does not flatter the server;
- above: a server with a queue of 16 and four times as many clients: how many are refused (503, all with Retry-After),
  and that those that are not are answered;
- memory: the server's resident set before and after `--requests` requests, in ten equal parts;
- its end: SIGTERM while 32 images wait; all are answered, exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from archipel.run.folder import RunFolder

CLIENTS = 32


class Served(NamedTuple):
    """One answered request."""

    status: int
    seconds: float
    headers: str
    body: bytes


class Client:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, content: bytes, path: str = "/predict") -> Served:
        begin = time.perf_counter()
        if self._streams is not None and self._streams[0].at_eof():  # the server ends connections that are idle
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: local\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        (length,) = re.findall(r"content-length: (\d+)", head, re.I)
        body = await reader.readexactly(int(length))
        if re.search(r"connection: close", head, re.I):
            self.close()
        return Served(int(head.split()[1]), time.perf_counter() - begin, head, body)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@contextmanager
def server(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server on a free port."""
    command = [sys.executable, "-c", "import sys; from archipel.cli.app import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*command, "serve", str(run), "--port", "0", *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)", line)
        yield process, int(port)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def pictures(run: Path) -> list[bytes]:
    """The run's test images as PNG files."""
    images = RunFolder.open(run, write=False).read_tensors("instances.safetensors")[0]["images"].numpy()
    files = []
    for image in images[:200]:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        files.append(file.getvalue())
    return files


async def saturate(port: int, files: list[bytes], count: int, clients: int) -> tuple[list[Served], float]:
    """`count` requests by clients that ask again at once; and seconds."""
    left = iter(range(count))
    served: list[Served] = []

    async def one() -> None:
        client = Client(port)
        served.extend([await client.ask(files[i % len(files)]) for i in left])
        client.close()

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return served, time.perf_counter() - begin


async def at_rate(port: int, files: list[bytes], count: int, rate: float, seed: int) -> list[float]:
    """Seconds of each of `count` requests at random moments, `rate` a second, from when each should have begun."""
    rng, idle = random.Random(seed), [Client(port) for _ in range(4)]
    found: list[float] = []

    async def one(i: int, due: float) -> None:
        client = idle.pop() if idle else Client(port)
        reply = await client.ask(files[i % len(files)])
        assert reply.status == 200, reply
        found.append(time.perf_counter() - due)
        idle.append(client)

    due, tasks = time.perf_counter(), []
    for i in range(count):
        due += rng.expovariate(rate)
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(i, due)))
    await asyncio.gather(*tasks)
    for client in idle:
        client.close()
    return found


def memory(process: subprocess.Popen[str]) -> float:
    """Resident set, MiB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--executor", default="auto")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    options = ["--executor", asked.executor, *([] if asked.model is None else ["--model", asked.model])]
    files, found = pictures(asked.run), {"cores": os.cpu_count(), "model": asked.model, "executor": asked.executor}
    found |= below(asked.run, options, files, asked.requests, asked.seed)
    found |= above(asked.run, options, files)
    found |= ended(asked.run, options, files)
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


def below(run: Path, options: list[str], files: list[bytes], requests: int, seed: int) -> dict[str, Any]:
    """Saturation, half of it, and memory."""
    with server(run, *options) as (process, port):
        asyncio.run(saturate(port, files, 200, CLIENTS))  # warm
        served, seconds = asyncio.run(saturate(port, files, 1000, CLIENTS))
        rate = len(served) / seconds
        batch = float(np.mean([json.loads(one.body)["batch"] for one in served]))
        waited = asyncio.run(at_rate(port, files, 1000, rate / 2, seed))
        p50, p99 = (float(q) * 1000 for q in np.quantile(waited, [0.5, 0.99]))
        resident, statuses = [memory(process)], Counter(one.status for one in served)
        for _ in range(10):
            part, _ = asyncio.run(saturate(port, files, requests // 10, CLIENTS))
            statuses.update(one.status for one in part)
            resident.append(memory(process))

    return {
        "saturated": {"requests_a_second": rate, "images_a_batch": batch},
        "half": {"requests_a_second": rate / 2, "p50_ms": p50, "p99_ms": p99, "p99_over_p50": p99 / p50},
        "statuses": dict(statuses),
        "resident_mib": resident,
    }


def ended(run: Path, options: list[str], files: list[bytes]) -> dict[str, Any]:
    """SIGTERM while images wait for others to join them."""
    with server(run, *options, "--max-wait-ms", "1000") as (process, port):

        async def asked() -> list[Served]:
            asking = [asyncio.create_task(Client(port).ask(files[i % len(files)])) for i in range(CLIENTS)]
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asking)

        statuses = Counter(one.status for one in asyncio.run(asked()))
        return {"ended": {"statuses": dict(statuses), "exit_code": process.wait(30)}}


def above(run: Path, options: list[str], files: list[bytes]) -> dict[str, Any]:
    """More clients than the queue takes."""
    with server(run, *options, "--queue", "16", "--max-batch", "8") as (_, port):
        served, seconds = asyncio.run(saturate(port, files, 2000, 64))
    statuses = Counter(one.status for one in served)
    refused = [one for one in served if one.status == 503]
    return {
        "above": {
            "statuses": dict(statuses),
            "refused_with_retry_after": sum("retry-after:" in one.headers.lower() for one in refused),
            "answered_a_second": statuses[200] / seconds,
        }
    }


if __name__ == "__main__":
    main()
