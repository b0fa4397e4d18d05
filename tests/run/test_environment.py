"""What is kept about the machine is JSON and true."""

import json
import subprocess
from pathlib import Path

import torch

from archipel.run.environment import commit, cpu_model, environment


def test_environment_is_json():
    here = json.loads(json.dumps(environment()))
    assert here["torch"] == torch.__version__
    assert here["threads"] == torch.get_num_threads()
    assert here["archipel"] == "0.1.0"
    assert here["cpu"] == cpu_model() != ""


def git(folder: Path, *command: str) -> None:
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "core.hooksPath="]
    subprocess.run(["git", "-C", str(folder), *names, *command], check=True, capture_output=True)


def test_commit_is_that_of_a_checkout_only(tmp_path):
    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert commit(package) is None
    git(tmp_path, "init")
    assert commit(package) is None  # inside a repository, but no part of it
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "begin")
    head = commit(package)
    assert head is not None
    assert len(head) == 40
    (package / "__init__.py").write_text("x = 1")
    assert commit(package) == f"{head} (modified)"
