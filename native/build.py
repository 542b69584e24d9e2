"""Builds the native kernels: one compilation per instruction set, one library.

    python native/build.py        into src/spikesight/native/, for a checkout

Needs a C++ compiler of GCC's or Clang's kind (`$CXX`, else c++, g++ or clang++) and nothing else.
Also the hook by which a wheel gets them; without a compiler a wheel has none.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "spikesight" / "native"
FILE_NAME = "libspikesight.dylib" if sys.platform == "darwin" else "libspikesight.so.1"
# No contraction and no reordering: sums and products are those of PyTorch, bit for bit.
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden"]
FLAGS += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-unknown-pragmas", "-Wno-maybe-uninitialized"]
# Name, size of a vector in bytes, what the compiler may use. On ARM the first is NEON.
PORTABLE = ("portable", 16, "")
X86 = (
    PORTABLE,
    ("avx2", 32, "-mavx2 -mfma -mf16c"),
    ("avx512", 64, "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c"),
)


class NoCompilerError(Exception):
    """There is no C++ compiler, or it does not compile the kernels."""


def find_compiler() -> list[str]:
    """The compiler's command.

    Raises:
        NoCompilerError: If there is none.
    """
    if given := os.environ.get("CXX"):
        return shlex.split(given)
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise NoCompilerError("no C++ compiler was found; set CXX or install g++ or clang")


def build(target: Path = TARGET) -> Path:
    """Compiles the library into a folder; returns its file.

    Raises:
        NoCompilerError: If there is no compiler or it fails.
    """
    compiler = find_compiler()
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    common = [*compiler, *FLAGS, *(["-DSPIKESIGHT_X86"] if x86 else [])]
    with tempfile.TemporaryDirectory() as folder:
        commands = []
        for name, width, allowed in X86 if x86 else (PORTABLE,):
            defined = [f"-DSPIKESIGHT_ISA={name}", f"-DSPIKESIGHT_WIDTH={width}"]
            source = [str(HERE / "training" / "kernels.cpp"), "-o", f"{folder}/{name}.o"]
            commands.append([*common, *allowed.split(), *defined, "-c", *source])
        source = [str(HERE / "training" / "dispatch.cpp"), "-o", f"{folder}/dispatch.o"]
        commands.append([*common, "-c", *source])
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(_run, commands))
        objects = sorted(str(file) for file in Path(folder).glob("*.o"))
        linked = Path(folder) / FILE_NAME
        _run([*compiler, "-shared", "-o", str(linked), *objects])
        target.mkdir(parents=True, exist_ok=True)
        # Renamed into place, so that a process that uses the old file goes on with it.
        partial = target / f"{FILE_NAME}.partial"
        shutil.copyfile(linked, partial)
        return partial.replace(target / FILE_NAME)


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        raise NoCompilerError(f"{command[0]} cannot be run: {error}") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        said = "\n".join([line for line in lines if "error" in line][:5] or lines[-5:])
        raise NoCompilerError(f"{shlex.join(command[:1])} failed:\n{said}") from error


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script
    pass
else:

    class NativeKernels(BuildHookInterface):  # type: ignore[type-arg]
        """Puts the library into the wheel, or says why there is none."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Builds before files are gathered; an editable install uses the file in place."""
            try:
                file = build()
            except NoCompilerError as error:
                # What was built from other sources must not travel.
                (TARGET / FILE_NAME).unlink(missing_ok=True)
                self.app.display_warning(f"spikesight goes without native kernels: {error}")
                return
            build_data["artifacts"].append(str(file.relative_to(HERE.parent)))
            build_data["pure_python"] = False
            system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{system}"


if __name__ == "__main__":
    try:
        print(build())
    except NoCompilerError as problem:
        sys.exit(str(problem))
