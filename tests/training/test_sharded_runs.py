"""Processes that each hold a share of the weights (FSDP2) learn what one learns, in float64."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

import spikesight
from spikesight.errors import FileError, UserError
from spikesight.training import TrainConfig, train
from spikesight.training.runs.checkpoint import RunState

from .child import needs_gloo, run_group
from .test_processes_equal_one import EXACT, learn, losses

Build = Callable[..., TrainConfig]
pytestmark = needs_gloo
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def tensors(state: object, place: str = "") -> dict[str, Tensor]:
    """All tensors of nested dictionaries."""
    if isinstance(state, Tensor):
        return {place: state}
    if not isinstance(state, dict):
        return {}
    inner = [tensors(value, f"{place}/{key}") for key, value in state.items()]
    return {name: tensor for found in inner for name, tensor in found.items()}


def largest_difference(one: TrainConfig, several: TrainConfig) -> float:
    """Of weights, running statistics, moving average and optimiser's state."""
    found = []
    for config in (one, several):
        last = Path(config.output) / "last"
        state = RunState.read(last)
        model = spikesight.load(last).state_dict()
        best = spikesight.load(last.parent / "best").state_dict()
        parts = {"model": model, "best": best, "ema": state.ema, "optimizer": state.optimizer}
        found.append(tensors(parts))
    assert found[0].keys() == found[1].keys()
    return max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0])


def rows(config: TrainConfig) -> list[dict[str, float]]:
    with (Path(config.output) / "metrics.csv").open() as file:
        return [
            {name: float(value or 0) for name, value in row.items()} for row in csv.DictReader(file)
        ]


def test_shares_learn_what_one_learns_and_go_on_in_any_number(tiny: Build, tmp_path: Path) -> None:
    changes = {**EXACT, "model__neuron": "lif", "model__steps": 2}
    # A learned tau is a parameter without dimensions.
    changes["model__neuron_arguments"] = {"learnable_tau": True, "threshold": 0.2}
    one = tiny("one", epochs=1, batch_size=64, accumulation=2, **changes)
    learn(one)
    several, log = replace(one, output=str(tmp_path / "several"), resume=True), tmp_path / "log"
    last = Path(several.output) / "last"
    run_group(lambda: learn(replace(several, batch_size=16), stop=1), log, 4, **FSDP2)
    assert len(list((last / "training").glob("shard-*.safetensors"))) == 4

    adam = replace(one.optimizer, name="adamw", betas=(0.9, 0.99))
    adaptive = replace(one, output=str(tmp_path / "adaptive"), optimizer=adam)

    def go_on() -> None:
        learn(replace(several, batch_size=32))
        learn(replace(adaptive, batch_size=32))
        with pytest.raises(UserError, match=r"is lamb, .* pass optimizer\.name=adamw"):
            train(replace(several, optimizer=replace(adam, name="lamb"), output=f"{log}_lamb"))
        with pytest.raises(UserError, match=r"memory is low, .* pass memory=normal"):
            train(replace(several, memory="low", output=f"{log}_low"))

    run_group(go_on, log, 2, **FSDP2)
    assert len(list((last / "training").glob("shard-*.safetensors"))) == 2
    assert largest_difference(one, several) < 1e-12
    for expected, found in zip(rows(one), rows(several), strict=True):
        learned = {name for name in expected if name.startswith(("train", "val", "ema", "firing"))}
        assert {"train_loss", "val_top1", "val_loss"} < learned
        for name in learned:
            assert found[name] == pytest.approx(expected[name], rel=1e-9), name  # rates: float32
    # Adam moves biases whose gradient is zero by its sign, which another normalisation takes away.
    alone = replace(adaptive, output=f"{adaptive.output}_alone")
    learn(alone)
    assert losses(adaptive) == pytest.approx(losses(alone), rel=1e-9)
    assert not any(parameter.is_meta for parameter in spikesight.load(last).parameters())
    (last / "training" / "shard-00002-model-00001-of-00001.safetensors").write_bytes(b"damaged")
    with pytest.raises(FileError, match="training cannot be read"):
        RunState.read(last)


class OwnNeuron(spikesight.neurons.ILIF):
    def __init__(self, steps: int = 1, levels: int = 4) -> None:
        super().__init__(steps, levels)
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, current: Tensor) -> Tensor:
        return super().forward(self.gain * current)


class OwnNet(spikesight.SpikingModel):
    """Reads weights where it likes, and some never."""

    def __init__(self, num_classes: int, in_channels: int, steps: int, levels: Any, neuron: Any):
        super().__init__()
        self.steps, self.stride = steps, 4
        self.presentation = spikesight.Presentation(steps, in_channels, self.stride)
        self.stem = spikesight.ConvNorm(in_channels, 7, 3, stride=2)
        self.neuron = spikesight.create_neuron(neuron or "own_neuron", steps, levels)
        self.down = nn.Conv2d(7, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.unread = nn.Linear(3, 5)
        self.pool, self.head = spikesight.GlobalPool(), spikesight.Linear(6, num_classes)
        self.readout = spikesight.Readout(steps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.neuron(self.stem(self.presentation(x)))
        kernel = self.down.weight - self.down.weight.mean()
        x = self.norm(nn.functional.conv2d(x, kernel, self.down.bias, stride=2, padding=1))
        logits: Tensor = self.readout(self.head(self.pool(x)))
        return logits


def own_net(
    num_classes: int = 10,
    in_channels: int = 3,
    steps: int = 1,
    levels: int | None = None,
    neuron: Any = None,
    drop_path_rate: float = 0.0,
) -> OwnNet:
    return OwnNet(num_classes, in_channels, steps, levels, neuron)


@pytest.mark.filterwarnings("ignore:Overwriting")
def test_own_models_and_neurons_in_copies_and_in_shares(tiny: Build, tmp_path: Path) -> None:
    spikesight.register_neuron(OwnNeuron, name="own_neuron")
    spikesight.register_model(own_net)
    changes = {**EXACT, "model__name": "own_net", "model__neuron": "own_neuron"}
    one = tiny("one", epochs=1, batch_size=64, accumulation=2, **changes)
    one = replace(one, model=replace(one.model, arguments={}))
    learn(one)
    copies = replace(one, batch_size=32, output=str(tmp_path / "copies"))
    shares = replace(copies, output=str(tmp_path / "shares"))

    def learn_both() -> None:
        learn(copies)
        os.environ.update(FSDP2)
        newer = hasattr(distributed, "reduce_scatter_single")
        name = "reduce_scatter_single" if newer else "reduce_scatter_tensor"
        reduce, reduced = getattr(distributed, name), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distributed, name, lambda *a, **k: reduced.append(1) or reduce(*a, **k))
            learn(shares)
        assert len(reduced) == 3, "6 batches make 3 updates"

    run_group(learn_both, tmp_path / "log", 2)
    assert largest_difference(one, copies) < 1e-12
    assert largest_difference(one, shares) < 1e-12
