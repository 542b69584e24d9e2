"""Runs the command line in a forked process, which costs no second import of torch."""

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from spikesight.commands.parser import main

Process = "multiprocessing.context.ForkProcess"

needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this PyTorch has no gloo, with which processes on CPUs talk",
)


def _run(work: Callable[[], int | None], log: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    sys.stdout = sys.stderr = log.open("w", buffering=1)
    torch.set_num_threads(1)
    try:
        code = work() or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)


def start(
    words: Sequence[str] | Callable[[], int | None], log: Path, **environment: str
) -> Process:
    """Starts `spikesight`, or a function, with its output in a file."""
    work = words if callable(words) else lambda: main(words)
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(work, log, environment)
    )
    process.start()
    return process


def start_group(
    words: Sequence[str] | Callable[[], int | None], log: Path, count: int, **environment: str
) -> list[Process]:
    """Starts several processes as torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return [
        start(
            words,
            log.with_suffix(f".{rank}"),
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(count),
            LOCAL_WORLD_SIZE=str(count),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            **environment,
        )
        for rank in range(count)
    ]


def start_pair(words: Sequence[str], log: Path) -> list[Process]:
    """Starts two processes as torchrun does."""
    return start_group(words, log, 2)


def run_group(
    work: Sequence[str] | Callable[[], int | None], log: Path, count: int, **environment: str
) -> None:
    """Runs several processes to their end, which must be a good one."""
    group = start_group(work, log, count, **environment)
    for process in group:
        process.join(240)
    codes = [process.exitcode for process in group]
    for process in group:
        process.kill()
    told = "\n".join(log.with_suffix(f".{rank}").read_text()[-3000:] for rank in range(count))
    assert codes == [0] * count, f"{codes}\n{told}"
