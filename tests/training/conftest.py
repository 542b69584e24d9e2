import copy
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.training import TrainConfig, from_mapping

# 8x8 digits and a model of two blocks: an epoch of three batches takes a fraction of a second.
TINY: dict[str, Any] = {
    "model": {
        "name": "metaspikformer_nano",
        "drop_path_rate": 0.2,
        "arguments": {
            "widths": [4, 4, 8, 8, 8],
            "depths": [0, 1, 0, 1, 0],
            "heads": 2,
            "mlp_ratio": 1,
            "separable_kernel": 3,
        },
    },
    "data": {"format": "digits", "channels": 1, "image_size": 8, "random_crop_padding": 1},
    "schedule": {"warmup_epochs": 0.5},
    "epochs": 2,
    "batch_size": 32,
    "limit_batches": 4,
    "log_every": 2,
    "precision": "no",
}


def stop_after(update: int) -> Callable[[int], None]:
    """Sends this process a SIGINT, as Ctrl-C does, when an update is done."""

    def stop(done: int) -> None:
        if done == update:
            os.kill(os.getpid(), signal.SIGINT)

    return stop


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., TrainConfig]:
    """Builds a quick run; "data__workers=1" changes a nested field."""

    def build(output: str = "run", **changes: Any) -> TrainConfig:
        values = copy.deepcopy(TINY) | {"output": str(tmp_path / output)}
        for key, value in changes.items():
            place = values
            *parents, name = key.split("__")
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
        return from_mapping(TrainConfig, values)

    return build
