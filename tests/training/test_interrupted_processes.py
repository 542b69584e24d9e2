"""Ctrl-C, termination and sudden death of a run."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import spikesight
from spikesight.training import TrainConfig
from spikesight.training.runs.checkpoint import RunState
from spikesight.training.runs.storage import recover_folder

from .child import start, start_pair

Build = Callable[..., TrainConfig]


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def write_config(config: TrainConfig, folder: Path) -> str:
    path = folder / "config.yaml"
    path.write_text(config.dump())
    return str(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_with_a_checkpoint(tiny: Build, tmp_path: Path, number: int) -> None:
    config = tiny(epochs=1000, schedule__warmup_epochs=1)
    log = tmp_path / "log"
    process = start(["train", write_config(config, tmp_path)], log)
    metrics = Path(config.output) / "metrics.csv"
    wait_for(metrics.exists)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 128 + number
    text = log.read_text()
    assert "Traceback" not in text
    assert f"--resume=true --output={config.output}" in text
    state = RunState.read(Path(config.output) / "last")
    assert state.position.update == 4 * state.position.epoch + state.position.batch > 0
    assert spikesight.load(Path(config.output) / "last").recipe["name"] == "metaspikformer_nano"


def test_sudden_death_leaves_a_whole_checkpoint(tiny: Build, tmp_path: Path) -> None:
    config = tiny(
        epochs=1000, schedule__warmup_epochs=1, checkpoint_minutes=1e-9, ema__decay=0.9, resume=True
    )
    words = ["train", write_config(config, tmp_path)]
    last = Path(config.output) / "last"
    updates = [0]
    for delay in (0.0, 0.113, 0.271):
        process = start(words, tmp_path / "log")
        known = updates[-1]
        wait_for(lambda known=known: _update(last) > known)
        time.sleep(delay)
        assert process.is_alive(), (tmp_path / "log").read_text()
        process.kill()
        process.join(10)
        updates.append(RunState.read(recover_folder(last)).position.update)
        spikesight.load(last)
    assert updates == sorted(set(updates))


def _update(last: Path) -> int:
    try:
        return RunState.read(last).position.update
    except (ValueError, FileNotFoundError):  # read between two renames
        return 0


def test_signal_to_one_of_two_processes_ends_both(tiny: Build, tmp_path: Path) -> None:
    config = tiny(epochs=1000, schedule__warmup_epochs=1, batch_size=16)
    processes = start_pair(["train", write_config(config, tmp_path)], tmp_path / "log")
    wait_for((Path(config.output) / "metrics.csv").exists)
    assert processes[1].pid is not None
    os.kill(processes[1].pid, signal.SIGTERM)
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [143, 143]
    assert RunState.read(Path(config.output) / "last").processes == 2
