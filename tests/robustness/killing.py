"""Training runs that are killed at any moment, and go on.

python -m tests.robustness.killing --kills 200
"""

from __future__ import annotations

import argparse
import copy
import csv
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file

import spikesight
from spikesight.training import TrainConfig, from_mapping, train
from spikesight.training.runs.checkpoint import RunState
from spikesight.training.runs.storage import recover_folder
from tests.training.conftest import TINY
from tests.training.test_segmentation import SMALL

TASKS = ("classification", "semantic", "panoptic", "masked_image")
_CLOCK = {"seconds", "images_per_second", "peak_memory"}
_LONGEST = 300  # seconds that one part of a run may take


def small_run(task: str, output: Path) -> TrainConfig:
    """A run of a few updates that writes last/ after each."""
    values: dict[str, Any] = copy.deepcopy(TINY)
    if task in ("semantic", "panoptic"):
        values = copy.deepcopy(SMALL)
        values["scenes"] |= {"crop_size": [16, 24], "scenes": 8, "validation_scenes": 2}
        values["batch_size"] = 2
        if task == "panoptic":
            values["segmentation"]["loss"]["points"] = 16
    elif task == "masked_image":
        values["model"] = {"name": "spikformer_v2_nano", "arguments": {"width": 16, "heads": 2}}
        values["data"]["image_size"] = 16
        values["masked_image"] = {"width": 16, "depth": 1, "heads": 2}
    values |= {
        "task": task,
        "output": str(output),
        "epochs": 2,
        "limit_batches": 3,
        "checkpoint_minutes": 1e-9,
        "device": "cpu",
        "resume": True,
        "ema": {"decay": 0.9},
    }
    return from_mapping(TrainConfig, values)


@dataclass(frozen=True)
class Reference:
    """An undisturbed run.

    Attributes:
        bits: Everything that it computed.
        seconds: How long it took.
        file_operations: How often it touched the disk.
    """

    bits: dict[str, Any]
    seconds: float
    file_operations: int


def undisturbed(config: TrainConfig) -> Reference:
    """Trains to the end, in a process of its own as killed runs do."""
    counted = Path(config.output).with_suffix(".operations")
    start = time.monotonic()
    status = _run_in_child(config, counted=counted)
    assert status == 0, f"{config.task}: the undisturbed run ended with {status}"
    seconds = time.monotonic() - start
    return Reference(results(config), seconds, int(counted.read_text()))


def killed(config: TrainConfig, kills: int, reference: Reference, random: Random) -> int:
    """Trains with sudden deaths in between, half of them as the run touches the disk.

    Args:
        config: The run.
        kills: How often it dies.
        reference: The same run, undisturbed.
        random: Says when it dies.

    Returns:
        How often it died.
    """
    died = 0
    for attempt in range(4 * kills):
        if died == kills:
            break
        if attempt % 2:
            status = _run_in_child(config, after=random.randrange(1, reference.file_operations))
        else:
            status = _run_in_child(config, delay=random.uniform(0, reference.seconds))
        if status == -signal.SIGKILL:
            died += 1
        assert status in (0, -signal.SIGKILL), f"{config.task}: a part ended with {status}"
        last = recover_folder(Path(config.output) / "last")
        if last.exists():
            RunState.read(last)
            spikesight.load(last)
    status = _run_in_child(config)
    assert status == 0, f"{config.task}: the last part ended with {status}"
    return died


def results(config: TrainConfig) -> dict[str, Any]:
    """Every tensor and figure that a finished run left behind, without its clock."""
    folder = Path(config.output)
    found: dict[str, Any] = {}
    for file in ("last/model", "last/training", "best/model"):
        tensors = load_file(folder / f"{file}.safetensors")
        found |= {f"{file} {name}": tensor for name, tensor in tensors.items()}
    with (folder / "metrics.csv").open() as rows:
        for row in csv.DictReader(rows):
            kept = {k: v for k, v in row.items() if k not in _CLOCK}
            found[f"metrics {row['epoch']}"] = kept
    state = RunState.read(folder / "last")
    found["state"] = (state.position, state.best, state.last)
    return found


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of what two runs computed differently, to the bit."""

    def same(name: str) -> bool:
        left, right = first.get(name), second.get(name)
        if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
            return left.dtype == right.dtype and torch.equal(left, right)
        return bool(left == right)

    return [name for name in sorted(first.keys() | second.keys()) if not same(name)]


def _run_in_child(
    config: TrainConfig,
    delay: float | None = None,
    after: int | None = None,
    counted: Path | None = None,
) -> int:
    """Exit code of a part of a run; -9 if it was killed, after a delay or some file operations."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(_LONGEST)
            log = os.open(f"{config.output}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            torch.set_num_threads(1)
            operations = _count_operations(after)
            train(config)
            if counted is not None:
                counted.write_text(str(operations()))
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _count_operations(last: int | None) -> Callable[[], int]:
    """Counts this process's file operations, and kills it at one of them."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event.startswith(("os.", "shutil.")) or event == "open":
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: count


def kill_task(task: str, kills: int, folder: Path, seed: int, per_run: int = 5) -> int:
    """Runs a task again and again, with so many deaths in all; returns their number.

    Args:
        task: Name of the task.
        kills: How many deaths.
        folder: For the runs.
        seed: Says when they die.
        per_run: Most deaths of one run.
    """
    reference = undisturbed(small_run(task, folder / "straight"))
    config = small_run(task, folder / "killed")
    random = Random(f"{task} {seed}")
    died = 0
    while died < kills:
        run = replace(config, output=str(folder / f"killed_{died}"))
        died += killed(run, min(per_run, kills - died), reference, random)
        different = differences(reference.bits, results(run))
        assert not different, f"{run.output} differs in {different[:10]}"
    return died


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="number of deaths over all tasks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for task in TASKS:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kill-") as folder:
            died = kill_task(task, options.kills // len(TASKS), Path(folder), options.seed)
        print(f"{task}: {died} kills, the same bits, {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    _main()
