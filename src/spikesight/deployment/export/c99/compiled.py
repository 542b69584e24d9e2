"""Compiles a C99 file with this machine's compiler and compares it with its golden vectors."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from spikesight.deployment.export.exactness import ExportError

_COMPILERS = ("cc", "gcc", "clang")


def find_compiler() -> list[str] | None:
    """The command of a C compiler, `$CC` if that is set; None if there is none."""
    if given := os.environ.get("CC"):
        return shlex.split(given)
    return next(([name] for name in _COMPILERS if shutil.which(name)), None)


def refuse_wrong_file(compiler: list[str], source: Path, golden: Path) -> None:
    """Compiles a file and raises ExportError unless it gives every golden vector.

    Args:
        compiler: The compiler's command.
        source: The C99 file.
        golden: The folder of its golden vectors.

    Raises:
        ExportError: If it cannot be compiled or any integer differs; says which layer.
    """
    program = source.with_suffix(".check")
    command = [*compiler, "-std=c99", "-O2", "-DSPK_MAIN", str(source), "-o", str(program)]
    try:
        compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ExportError(
            f"{compiler[0]} cannot be run ({error}); set CC to a C compiler"
        ) from error
    if compiled.returncode:
        said = " ".join(compiled.stderr.split())[:300]
        raise ExportError(f"{compiler[0]} does not compile the file ({said}); set CC to another")
    run = subprocess.run([program, golden], capture_output=True, text=True, check=False)
    program.unlink()
    if run.returncode:
        lines = [line.split() for line in run.stdout.splitlines()]
        wrong = [line for line in lines if len(line) > 4 and line[0] != "0" and line[1] == "of"]
        place = f"{wrong[0][0]} integers of {wrong[0][-1]}" if wrong else run.stderr.strip()
        raise ExportError(
            f"compiled by {compiler[0]}, the file computes {place} differently; it is not exact "
            "and was not written"
        )
