"""What networks run with in a browser: onnxruntime-web, from the npm registry by a lock file, never kept in git.

A wheel brings it along: the build (`hatch_build.py`) calls `fetch`. A source checkout fetches it when it is first asked
for; that needs npm. This file imports nothing but the standard library, since builds load it alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["FILES", "RuntimeMissing", "fetch", "fetched"]

HERE = Path(__file__).parent / "web"
FETCHED = HERE / "runtime"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""The build for the CPU: script and WebAssembly."""
PACKAGE = "onnxruntime-web"
PATIENCE_S = 600


class RuntimeMissing(Exception):
    """It could not be fetched; one line says why."""


def fetched() -> bool:
    """Whether it is there, of the version that the lock file names."""
    stamp = FETCHED / "version"
    return stamp.is_file() and stamp.read_text() == _locked() and all((FETCHED / name).is_file() for name in FILES)


def fetch() -> Path:
    """Fetch it where it is not there yet; gives the folder that holds `FILES`.

    Raises:
        RuntimeMissing: there is no npm, or the registry does not give it.
    """
    if fetched():
        return FETCHED
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeMissing(
            f"{PACKAGE} is not in this source checkout and npm, which fetches it, is not installed; install Node.js, "
            "or a wheel of archipel, which brings it along"
        )
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RuntimeMissing(f"npm did not fetch {PACKAGE}: {error}") from error
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "npm ci failed")
            raise RuntimeMissing(f"npm did not fetch {PACKAGE}: {said.strip()}")
        _keep(Path(folder) / "node_modules" / PACKAGE / "dist")
    return FETCHED


def _keep(source: Path) -> None:
    try:
        FETCHED.mkdir(exist_ok=True)
        for name in FILES:
            shutil.copy(source / name, FETCHED / name)
        (FETCHED / "version").write_text(_locked())
    except OSError as error:
        raise RuntimeMissing(f"{PACKAGE} cannot be kept in {FETCHED} ({error.strerror or error})") from error


def _locked() -> str:
    lock = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))
    version: str = lock["packages"][f"node_modules/{PACKAGE}"]["version"]
    return version
