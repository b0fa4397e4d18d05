"""The run folder keeps what it is given, belongs to one process at a time and survives a kill."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from archipel.errors import RunError
from archipel.run.atomic import StorageError
from archipel.run.folder import RunFolder

CONFIG = {"task": "digits", "threads": None, "settings": {"lr": 1e-05, "widths": (0.5, 1.0), "name": "é"}}


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path / "a", CONFIG, "archipel run") as made:
        yield made


def test_config_reads_back(folder):
    folder.close()
    with RunFolder.open(folder.path) as again:
        assert again.config == {
            "task": "digits",
            "threads": None,
            "settings": {"lr": 1e-05, "widths": [0.5, 1.0], "name": "é"},
        }
        assert again.config == folder.config
        assert again.command == "archipel run"
        assert again.started == folder.started


def test_default_place_is_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        RunFolder.create(None, {}, "x", task="digits") as one,
        RunFolder.create(None, {}, "x", task="digits") as two,
    ):
        assert one.path != two.path
        assert one.path.parent.name == "runs"
        assert one.path.name.endswith("-digits-1")
        assert one.path.name[:8].isdigit()


def test_a_run_is_never_overwritten(folder):
    folder.write_json("result.json", {"score": 1})
    folder.close()
    with pytest.raises(RunError, match="already holds a run; go on with it by --resume"):
        RunFolder.create(folder.path, {}, "x")
    assert folder.read_json("result.json") == {"score": 1}


def test_foreign_folders_and_files_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"not empty \(it holds thesis.tex\)"):
        RunFolder.create(tmp_path, {}, "x")
    with pytest.raises(RunError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.tex", {}, "x")
    with pytest.raises(RunError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.tex" / "run", {}, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_killed_creation_left_is_no_obstacle(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").write_text("4242")
    (tmp_path / "a" / ".config.yaml.4242.tmp").write_text("archi")
    with RunFolder.create(tmp_path / "a", CONFIG, "x") as made:
        assert made.stages == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no config.yaml"),
        ("a: 1", "not written by archipel"),
        ("a: [1", "no YAML"),
        ("- 1", "no settings"),
        ("archipel: {schema: 99, command: x, started: y}", "another version"),
    ],
)
def test_no_run_is_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(RunError, match=words) as caught:
        RunFolder.open(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match="no such folder"):
        RunFolder.open(tmp_path / "nothing")


def test_one_process_at_a_time(folder):
    with pytest.raises(RunError, match="in use by another archipel"):
        RunFolder.open(folder.path)
    program = f"from archipel.run.folder import RunFolder; RunFolder.open({str(folder.path)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "in use by another archipel" in done.stderr
    RunFolder.open(folder.path, write=False)
    folder.close()
    RunFolder.open(folder.path).close()


def test_a_kill_frees_the_lock(tmp_path):
    program = f"""
from archipel.run.folder import RunFolder
folder = RunFolder.create({str(tmp_path / "a")!r}, {{}}, "x")
print("locked", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match=f"process {process.pid}"):
            RunFolder.open(tmp_path / "a")
        process.kill()
    RunFolder.open(tmp_path / "a").close()


def test_stages(folder):
    assert folder.stage_done("pretraining") is None
    result = {"loss": (0.1 + 0.2, float("nan")), "by": {3: np.float32(0.5), "t": torch.tensor([1, 2])}}
    returned = folder.mark_done("pretraining", result)
    folder.mark_done("a search", {})
    assert returned["by"] == {"3": 0.5, "t": [1, 2]}
    assert repr(folder.stage_done("pretraining")) == repr(returned)
    assert returned["loss"][0] == 0.1 + 0.2
    folder.close()
    with RunFolder.open(folder.path) as again:
        assert again.stages == ["pretraining", "a search"]
        assert [event["stage"] for event in again.events()] == ["pretraining", "a search"]


def test_json_has_no_nan(folder):
    folder.write_json("deep/result.json", {"score": float("nan"), "spread": [float("inf"), np.float64(1.5)]})
    assert folder.read_json("deep/result.json") == {"score": None, "spread": [None, 1.5]}
    with pytest.raises(RunError, match="is missing"):
        folder.read_json("none.json")
    (folder.path / "bad.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        folder.read_json("bad.json")


def test_csv_and_tensors(folder):
    path = folder.write_csv("rows.csv", ["index", "text"], [(0, 'a "b", c'), (1, "é\n")])
    assert path.read_text() == 'index,text\n0,"a ""b"", c"\n1,"é\n"\n'
    folder.write_tensors("x.safetensors", {"x": torch.arange(3)}, {"names": ["a"]})
    tensors, meta = folder.read_tensors("x.safetensors")
    assert tensors["x"].tolist() == [0, 1, 2]
    assert meta == {"names": ["a"]}


def test_log_tolerates_a_torn_last_line(folder):
    folder.event("begin", seed=0)
    with open(folder.path / "log.jsonl", "a") as file:
        file.write('{"time": "20')
    assert [event["event"] for event in folder.events()] == ["begin"]
    folder.close()
    with RunFolder.open(folder.path) as again:
        again.event("resumed")
        assert [event["event"] for event in again.events()] == ["begin", "resumed"]


def test_a_damaged_line_within_the_log_is_named(folder):
    (folder.path / "log.jsonl").write_text('{}\n{"a\n{}\n')
    with pytest.raises(RunError, match="line 2 of"):
        folder.events()


def test_temporary_files_of_a_kill_are_swept(folder):
    (folder.path / "stages").mkdir()
    torn = folder.path / "stages" / ".search.json.77.tmp"
    torn.write_text("{")
    folder.close()
    with RunFolder.open(folder.path) as again:
        assert not torn.exists()
        assert again.stages == []


def test_a_full_disk_is_a_storage_error(folder, monkeypatch):
    import errno
    import os

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (
        lambda: folder.write_json("result.json", {}),
        lambda: folder.write_csv("a.csv", ["a"], []),
        lambda: folder.mark_done("search", {}),
    ):
        with pytest.raises(StorageError, match="no space left"):
            write()
    assert not (folder.path / "result.json").exists()


def test_checkpoint_lives_in_checkpoints(folder):
    folder.checkpoint("search-0").save({"x": {"x": torch.ones(2)}}, {"epoch": 1})
    assert (folder.path / "checkpoints" / "search-0.safetensors").is_file()
