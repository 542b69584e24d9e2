"""Runs cases in forked processes that may neither hang nor take much memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from spikesight.errors import UserError

# What a user's input may lead to; everything else ends in a traceback.
ALLOWED = (UserError, OSError)
CPU_SECONDS = 10.0
WALL_SECONDS = 60.0
MOST_BYTES = 2 * 2**30
# The address space ends above that, so that a request is seen as one and fails at once.
_MARGIN = 2**30
_CASES_PER_PROCESS = 200
_MEMORY_WORDS = ("can't allocate memory", "Unable to allocate", "MemoryError")

Kind = Literal["accepted", "refused", "unnamed", "uncaught", "unsound", "hang", "memory", "broken"]
KINDS: tuple[Kind, ...] = (
    "accepted",
    "refused",
    "unnamed",
    "uncaught",
    "unsound",
    "hang",
    "memory",
    "broken",
)


class UnsoundError(Exception):
    """What was read is nothing that a reader may give back."""


@dataclass(frozen=True)
class Trial:
    """One input, written and ready to be read.

    Attributes:
        read: Reads it; raises `UnsoundError` where it got something impossible.
        names: One of these must be in the message of an error.
        damage: What is wrong with it.
    """

    read: Callable[[], object]
    names: tuple[str, ...]
    damage: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a case came to.

    Attributes:
        seed: Its number.
        kind: See `KINDS`.
        text: The error's type and message, and where it was raised.
        damage: What was wrong with the input.
        seconds: Processor time.
    """

    seed: int
    kind: Kind
    text: str
    damage: str
    seconds: float


def run_cases(
    prepare: Callable[[int, Path], Trial], seeds: Sequence[int], folder: Path
) -> list[Outcome]:
    """Runs cases one after another, each with a limit of time and memory.

    Args:
        prepare: Writes the case of a seed into an empty folder.
        seeds: The cases.
        folder: For their files.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(seeds):
        rest = seeds[len(outcomes) : len(outcomes) + _CASES_PER_PROCESS]
        outcomes += _run_in_child(prepare, rest, folder)
    return outcomes


def _run_in_child(
    prepare: Callable[[int, Path], Trial], seeds: Sequence[int], folder: Path
) -> Iterator[Outcome]:
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            _be_child(prepare, seeds, folder, writer)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    started: tuple[int, str] | None = None
    with os.fdopen(reader, encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if "started" in entry:
                started = (entry["started"], entry["damage"])
                continue
            yield Outcome(**entry)
            started = None
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and started is not None:
        number = os.WTERMSIG(status)
        kinds: dict[int, Kind] = {signal.SIGPROF: "hang", signal.SIGALRM: "hang"}
        kinds[signal.SIGKILL] = "memory"
        kind = kinds.get(number, "uncaught")
        text = {signal.SIGPROF: f"{CPU_SECONDS} s", signal.SIGALRM: "blocked"}.get(
            number, signal.Signals(number).name
        )
        yield Outcome(started[0], kind, text, started[1], CPU_SECONDS)
    elif status != 0:
        raise RuntimeError(f"the process of the cases ended with {status} at {started}")


def _be_child(
    prepare: Callable[[int, Path], Trial], seeds: Sequence[int], folder: Path, writer: int
) -> None:
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    printed = os.open(folder / "printed", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.stdout = sys.stderr = os.fdopen(printed, "w", encoding="utf-8", errors="backslashreplace")
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + MOST_BYTES + _MARGIN,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        place = folder / f"case-{seed}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        outcome = _run_one(prepare, seed, place, writer)
        used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if used > MOST_BYTES and outcome.kind != "memory":
            text = f"{used / 2**30:.1f} GB, then {outcome.kind}: {outcome.text}"
            outcome = Outcome(seed, "memory", text, outcome.damage, outcome.seconds)
        os.ftruncate(printed, 0)
        os.lseek(printed, 0, os.SEEK_SET)
        shutil.rmtree(place, ignore_errors=True)
        os.write(writer, (json.dumps(asdict(outcome)) + "\n").encode())
        if outcome.kind == "memory":
            return


def _run_one(prepare: Callable[[int, Path], Trial], seed: int, place: Path, writer: int) -> Outcome:
    start = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        trial = prepare(seed, place)
    except Exception as error:
        return Outcome(seed, "broken", _describe(error), "", 0.0)
    started = {"started": seed, "damage": trial.damage}
    os.write(writer, (json.dumps(started) + "\n").encode())
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    kind, text = judge(trial)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.flush()
    printed = Path(f"/proc/self/fd/{sys.stdout.fileno()}").read_text("utf-8", "replace")
    if "Traceback (most recent call last)" in printed:
        kind, text = "uncaught", printed[-2000:]
    return Outcome(seed, kind, text, trial.damage, time.process_time() - start)


def judge(trial: Trial) -> tuple[Kind, str]:
    """Reads an input and says what it came to, with the text of the error if there was one."""
    try:
        trial.read()
    except ALLOWED as error:
        text = _describe(error)
        if any(word in text for word in _MEMORY_WORDS):
            return "memory", text
        named = any(name in str(error) for name in trial.names)
        return ("refused" if named else "unnamed"), text
    except UnsoundError as error:
        return "unsound", str(error)
    except MemoryError as error:
        return "memory", _describe(error)
    except BaseException as error:
        return "uncaught", _describe(error)
    return "accepted", ""


def _describe(error: BaseException) -> str:
    """Type and message, and the last place in this library."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/spikesight/" in file or not place:
            place = f"{file.rpartition('/src/')[2] or file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {place}: {str(error)[:600]}"
