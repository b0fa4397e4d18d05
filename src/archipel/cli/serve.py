"""`archipel serve`: a run behind HTTP."""

from __future__ import annotations

import gc
import signal
import socket
from pathlib import Path

import torch

from archipel.cli.overrides import Whole
from archipel.cost import Device
from archipel.deploy.executors import Wanted
from archipel.deploy.loading import load, opened
from archipel.errors import OptionError

__all__ = ["serve"]


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: Whole = 8000,
    model: str | None = None,
    seed: Whole | None = None,
    device: str = "cpu",
    executor: Wanted = "auto",
    max_batch: Whole = 64,
    max_wait_ms: float = 0.0,
    queue: Whole = 256,
    max_bytes: Whole = 10_000_000,
    threads: Whole | None = None,
) -> None:
    """Answer pictures that are posted to /predict; with ?target_ms= or ?point= as fast as each request asks.

    Ends with Ctrl-C or SIGTERM, once everything that waits is answered. Needs pip install 'archipel[serve]'.

    Args:
        run: the folder of a finished run: of "archipel run", "archipel train" or "archipel search".
        host: address to listen on; 0.0.0.0 for all of this machine's.
        port: port to listen on; 0 for one that is free.
        model: which of the run's families, such as early_exit, instanas or mobilenet_v2-0.5x; what the run reports
            first if not given.
        seed: which of the run's networks of that kind; the first if not given.
        device: cpu, the default, or cuda:0.
        executor: torch, PyTorch; onnx, ONNX Runtime; auto measures both at a few batch sizes and takes the faster for
            each. The first start writes ONNX files into the run folder, which takes it seconds.
        max_batch: images that are run together at most.
        max_wait_ms: how long a picture waits for others; 0: it is joined by what came while the last batch ran.
        queue: pictures that may wait; one more is answered 503.
        max_bytes: largest request.
        threads: CPU threads; those that the run had if not given.
    """
    try:
        import uvicorn

        from archipel.deploy.batching import Batching
        from archipel.deploy.server import Limits, application
    except ImportError as error:
        raise OptionError(
            f"serving needs {error.name}, which is not installed; run: pip install 'archipel[serve]'"
        ) from error
    if not 0 <= port <= 65535:
        raise OptionError(f"--port is {port}; give 1 to 65535, or 0 for one that is free")
    _, manifest = opened(run)
    torch.set_num_threads(Device("cpu", int(manifest.device["threads"] or 1) if threads is None else threads).threads)
    found = load(run, model, seed, device=device, executor=executor)
    app = application(found, Batching(max_batch, max_wait_ms, queue), Limits(bytes=max_bytes))
    try:
        listening = socket.create_server((host, port), backlog=2048)
        # What answers inherits it. Without, the second packet of an answer waits 40 ms for the first's acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise OptionError(f"port {port} of {host} cannot be listened on ({error.strerror}); give another") from error
    # The server raises the signal that ended it once more; by then everything is done.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: None)
    print(f"{found} at http://{host}:{listening.getsockname()[1]}; post pictures to /predict", flush=True)
    print(f"Run by {found.executors}", flush=True)
    gc.collect()
    gc.freeze()  # what is there now stays: going through it again takes a tenth of a second, and all requests wait
    with listening:
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on")).run([listening])
    print("Stopped; everything that waited is answered.")
