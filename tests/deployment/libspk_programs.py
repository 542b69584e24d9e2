"""The programs of libspk's tests, built by CMake where it and a C++ compiler are."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "build" / "libspk-tests"


@functools.cache
def program(target: str, **options: str) -> Path:
    """Builds a program, anew only where its sources changed; skips the test where none can be.

    Args:
        target: Its name in CMake.
        options: CMake's variables; each choice has a folder of its own.
    """
    compiler = options.get("CMAKE_CXX_COMPILER", os.environ.get("CXX", "c++"))
    if shutil.which("cmake") is None or shutil.which(compiler) is None:
        pytest.skip(f"builds {target}; install CMake and {compiler}")
    folder = _FOLDER.joinpath(*options.values()) if options else _FOLDER / "plain"
    folder.mkdir(parents=True, exist_ok=True)
    settings = [f"-D{name}={value}" for name, value in options.items()]
    with open(folder / "lock", "w") as lock:
        # Tests that run side by side build it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run("cmake", "-S", str(_ROOT / "native" / "libspk"), "-B", str(folder), *settings)
        _run("cmake", "--build", str(folder), "--target", target, "--parallel", "2")
    return folder / target


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
