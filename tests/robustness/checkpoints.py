"""Damaged last/ folders of runs, which a run goes on from."""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from spikesight.training import TrainConfig, Trainer, from_mapping, train
from spikesight.training.runs.checkpoint import RunState
from tests.robustness.damage import Damage
from tests.robustness.documents import check_finite
from tests.robustness.guard import Trial, UnsoundError
from tests.robustness.saved_models import check_weights, damaged_safetensors
from tests.training.conftest import TINY


@cache
def sound_run() -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of last/ of a small run, and its configuration."""
    values = copy.deepcopy(TINY) | {"epochs": 1, "limit_batches": 2, "batch_size": 16}
    values["ema"] = {"decay": 0.9}
    with tempfile.TemporaryDirectory() as folder:
        train(from_mapping(TrainConfig, values | {"output": f"{folder}/run", "device": "cpu"}))
        files = {p.name: p.read_bytes() for p in Path(folder, "run", "last").iterdir()}
    return files, values


def _write_last(last: Path, damage: Damage) -> dict[str, Any]:
    files, values = sound_run()
    files = dict(files)
    last.mkdir(parents=True)
    if not damage.none:
        name = damage.random.choice(
            ["training.json"] * 5 + ["training.safetensors"] * 2 + ["model.safetensors", "run.json"]
        )
        damage.note(name)
        if name.endswith("json"):
            files[name] = damage.json(json.loads(files[name]))
        elif damage.hits(0.7):
            files[name] = damaged_safetensors(files[name], damage)
        else:
            files[name] = damage.bytes(files[name], 400)
        if damage.hits(0.03):
            del files[name]
    for name, content in files.items():
        (last / name).write_bytes(content)
    return values


def _checkpoint(damage: Damage, folder: Path) -> Trial:
    last = folder / "run" / "last"
    values = _write_last(last, damage)
    config = from_mapping(
        TrainConfig, values | {"output": str(folder / "run"), "device": "cpu", "resume": True}
    )

    def read() -> None:
        state = RunState.read(last)
        state.check_continues(config, 1, last)
        state.finished(1, last)
        check_finite([state.position, state.sums, state.processes, state.config])
        if state.position.epoch < 0 or state.position.batch < 0 or state.position.update < 0:
            raise UnsoundError(f"{state.position}")

    return Trial(read, (str(last),), "; ".join(damage.notes))


def _resume(damage: Damage, folder: Path) -> Trial:
    last = folder / "run" / "last"
    values = _write_last(last, damage)
    output = {"output": str(folder / "run"), "device": "cpu", "resume": True, "epochs": 2}
    config = from_mapping(TrainConfig, values | output)

    def read() -> None:
        # The number of epochs changes the schedule and may be another one; nothing else is.
        trainer = Trainer(replace(config, epochs=2))
        check_weights(trainer.model)
        for state in trainer.optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor) and not value.isfinite().all():
                    raise UnsoundError(f"{name} of the optimiser holds no numbers")

    return Trial(read, (str(last),), "; ".join(damage.notes))


READERS = [("checkpoints", _checkpoint, 25), ("resumed runs", _resume, 5)]
