"""Runs the command line in a forked process, which costs no second import of torch."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from spikesight.commands.parser import main


def _run(words: Sequence[str], log: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    sys.stdout = sys.stderr = log.open("w", buffering=1)
    torch.set_num_threads(1)
    code = main(words)
    sys.stdout.flush()
    os._exit(code)


def start(
    words: Sequence[str], log: Path, **environment: str
) -> "multiprocessing.context.ForkProcess":
    """Starts `spikesight` with its output in a file."""
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(words, log, environment)
    )
    process.start()
    return process


def start_pair(words: Sequence[str], log: Path) -> list["multiprocessing.context.ForkProcess"]:
    """Starts two processes as torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return [
        start(
            words,
            log.with_suffix(f".{rank}"),
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in range(2)
    ]
