"""`archipel run` with the real recipe on a space and data so small that it takes seconds; killed, it goes on."""

import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

import pytest
import torch

from archipel.cli.app import app, execute
from archipel.recipes import job
from archipel.run.folder import RunFolder

SPACE = """
from torch import nn


def tiny(choose, *, classes=10, channels=1, size=8):
    def conv(k):
        return lambda: nn.Sequential(nn.Conv2d(8, 8, k, padding=k // 2), nn.BatchNorm2d(8))

    layers = [nn.Conv2d(channels, 8, 3, padding=1)]
    for i in range(3):
        layers.append(choose.subset(f"l{i}", {f"k{k}": conv(k) for k in (1, 3, 5)}, empty=nn.Identity))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""
SETTINGS = """
space: my.py:tiny
images: 120
test_images: 40
threads: 1
pretraining: {epochs: 2}
search: {epochs: 3}
finetuning: {epochs: 1, variants: 2}
exits: {width: 0.25, points: 1, epochs: 2}
baselines: {widths: [0.25], epochs: 2, pool: 2, contrasted: 1, shuffles: 2, cascades: 1}
latency: {rounds: 2, calibrating: 12, held_out: 4, probed: 6, cover: 2, final_rounds: 1, images: 1, seconds: 1,
  throughput_batch: 8}
"""
EXACT = ("accuracy", "table_ms", "madds", "parameters", "distinct_share", "effective_number", "varying_bits")


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> str:
    """A latency table with a controller's entry, because no two measurements are alike."""
    place = tmp_path_factory.mktemp("measured")
    (place / "my.py").write_text(SPACE)
    options = "--rounds 2 --calibrating 12 --held-out 4 --probed 6 --cover 2 --seconds 1 --threads 1 --quiet"
    words = ["latency", "build", "--space", "my.py:tiny", "--data", "digits", "--out", "t.json", *options.split()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert execute(app, words) == 0
    return json.dumps(json.loads((place / "t.json").read_text()) | {"controller_ms": 0.05})


@pytest.fixture
def place(tmp_path, monkeypatch, measured):
    """Where the space, settings and the latency table are. Pages are tested elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(job, "write_report", lambda run: run / "report.html")
    (tmp_path / "my.py").write_text(SPACE)
    (tmp_path / "my.yaml").write_text(SETTINGS)
    (tmp_path / "t.json").write_text(measured)
    return tmp_path


def killed_when(words: list[str], folder: Path, sign: str) -> None:
    """Start the program in a process of its own and kill it as soon as a file that matches `sign` is there.

    A fork, as the program's own jobs are: importing torch anew for every kill would take most of the test's time.
    """

    def program() -> None:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        torch.set_num_threads(1)
        os._exit(execute(app, words))

    process = multiprocessing.get_context("fork").Process(target=program)
    process.start()
    while not any(folder.glob(sign)):
        assert process.is_alive(), f"it ended with {process.exitcode} before there was {sign}"
        time.sleep(0.005)
    process.kill()
    process.join()


def test_killed_in_every_stage_it_ends_with_the_same_table(call, place):
    table = place / "t.json"
    whole = call("run", "--config", "my.yaml", "--table", table, "--seeds", 1, "--out", "whole", "--quiet", "--json")
    assert whole.code == 0, whole.err
    complete = place / "whole" / "latency" / "table.json"  # with the networks beside it, timed by the first run
    begin = ["run", "--config", "my.yaml", "--table", str(complete), "--seeds", "1", "--out", "killed"]
    again = ["run", "--resume", "killed"]
    killed = place / "killed"
    killed_when(begin, killed, "checkpoints/pretraining.safetensors")
    killed_when(again, killed, "checkpoints/search-0.safetensors")
    killed_when(again, killed, "checkpoints/final-*.safetensors")
    killed_when(again, killed, "stages/timing.json")
    resumed = call("run", "--resume", "killed", "--quiet", "--json")
    assert resumed.code == 0, resumed.err
    for one, other in zip(whole.json["points"], resumed.json["points"], strict=True):
        assert one["name"] == other["name"]
        for figure in EXACT:
            assert one.get(figure) == other.get(figure), (one["name"], figure)
    assert whole.json["curves"] == resumed.json["curves"]
    assert (place / "whole" / "architectures.csv").read_bytes() == (killed / "architectures.csv").read_bytes()
    assert not list(killed.rglob("*.tmp"))


def test_bad_targets_and_tables_are_one_line(call, place):
    table = place / "t.json"
    ended = call("run", "--config", "my.yaml", "--table", table, "--target-ms", 1e-6, "--out", "low", "--quiet")
    assert ended.code == 2
    assert "below the cheapest child" in ended.line
    assert "what was measured is kept: --table low/latency/table.json" in ended.line
    foreign = json.loads(table.read_text())
    foreign["device"]["fingerprint"]["model"] = "abacus"
    (place / "foreign.json").write_text(json.dumps(foreign))
    for words, expected in [
        (("--table", "foreign.json"), "is of another device"),
        (("--table", "t.json", "--space", "instanas"), "is of another space"),
        (("--table", "t.json", "--latency.batch", 2), "is of another batch size"),
    ]:
        ended = call("run", "--config", "my.yaml", *words, "--out", "none", "--quiet")
        assert ended.code == 2
        assert expected in ended.line
        assert not (place / "none").exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [("    raise RuntimeError('no luck')", "raised RuntimeError: no luck"), ("    return 3", "returned int")],
)
def test_a_space_that_raises_is_one_line(call, place, body, words):
    (place / "bad.py").write_text(f"def bad(choose, *, classes=10):\n{body}\n")
    ended = call("run", "--space", "bad.py:bad", "--threads", 1, "--quiet", "--out", "a")
    assert ended.code == 2
    assert words in ended.line
    assert not (place / "a").exists()


def test_a_full_disk_ends_with_one_line_and_the_run_goes_on(call, place):
    """The limit on file sizes makes the kernel refuse what the run writes once it has begun."""
    words = ["run", "--config", "my.yaml", "--table", "t.json", "--seeds", "1", "--out", "full", "--quiet"]
    create = RunFolder.create.__func__

    def limited(*given, **named):
        folder = create(*given, **named)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        return folder

    def program() -> None:
        sys.stdout, sys.stderr = open(os.devnull, "w"), open("said", "w")  # noqa: SIM115
        torch.set_num_threads(1)
        RunFolder.create = classmethod(limited)
        code = execute(app, words)
        sys.stderr.flush()
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=program)
    process.start()
    process.join()
    said = (place / "said").read_text()
    assert process.exitcode == 1, said
    assert "no space left to write full/" in said
    assert "continue with 'archipel run --resume full'" in said
    assert "Traceback" not in said
    assert not list((place / "full").rglob("*.tmp"))
    assert call("run", "--resume", "full", "--quiet").code == 0
