"""`archipel bench`: a comparison from a user's file to the page, gone on with and shown again; mistakes in one line."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

BRIEF = ("--limits.trials", 6, "--seeds", 2, "--jobs.workers", 1, "--quiet")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """NAS-Bench-Macro's file, with accuracies of our own."""
    arch = np.array(list(itertools.product(range(3), repeat=8)), dtype=np.int8)
    mean = 80 + arch.sum(1) / 2
    names = np.array([b"Identity", b"MB3_K3", b"MB6_K5"])
    np.savez(tmp_path / "nasbench_macro.npz", arch=arch, op_names=names, mean_acc=mean, params=mean, flops=mean)
    return tmp_path


def test_from_a_file_to_the_page(call, data: Path) -> None:
    asked = ("bench", "nasbench_macro", "--data", data, "--strategy", "random", "nsga2,population=2", *BRIEF)
    ended = call(*asked, "--out", "run")
    assert ended.code == 0, ended.err
    assert "cifar10, optimum 88.00 %, 6 architectures a search" in ended.out
    assert ended.out.splitlines()[-1] == "Report: run/report.html"
    assert "nsga2,population=2" in (data / "run" / "report.html").read_text(encoding="utf-8")
    again = call("bench", "--resume", "run", "--quiet", "--json")
    (one,) = again.json["sets"]
    assert [row["strategy"] for row in one["strategies"]] == ["random", "nsga2,population=2"]
    assert all(len(row["final"]["values"]) == 2 for row in one["strategies"])
    assert "nsga2,population=2" in call("show", "run").out
    for words, said in (
        (("--seeds", 3), "--seeds 3 contradicts run, which has"),
        (("--limits.trials", 7), "--limits.trials 7 contradicts run, which has"),
        (("--out", "other"), "--resume takes everything from run; leave out --out"),
    ):
        assert said in call("bench", "--resume", "run", *words).line


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "which benchmark, and where? Such as 'archipel bench nasbench201 --data FOLDER'"),
        (("nasbench201", "--data", "."), "there is no nasbench201.npz in"),
        (("nasbench", "--data", "."), "there is no benchmark 'nasbench' (nasbench201, nasbench_macro, nasbench_graph)"),
        (("nasbench_macro", "--data", ".", "--strategy", "rnadom"), "there is no strategy 'rnadom'"),
        (("nasbench_macro", "--data", ".", "--limits.trials", 1), "limits.trials is 1; give 2 or more"),
    ],
)
def test_mistakes(call, data: Path, asked: tuple[object, ...], said: str) -> None:
    ended = call("bench", *asked)
    assert ended.code == 2
    assert said in ended.line
    assert [entry.name for entry in data.iterdir() if entry.name != "runs"] == ["nasbench_macro.npz"]
    assert not any((data / "runs").glob("*/config.yaml"))
