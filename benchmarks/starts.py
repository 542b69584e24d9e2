"""What makes a spiking network slow at first: short runs of many forms of a start, paired seeds.

    python benchmarks/starts.py --cifar cifar10-train.tar --output starts --seeds 0 1 2 3 4
    python benchmarks/starts.py --output starts --table

A setting is a small network and its data; a row is one change of how it starts, and every row of a
setting sees the same images in the same order from the same seed. A run that is in results.csv of
the output is not repeated, so the command can be stopped and given again, with more seeds, rows or
settings. What a row changes is done to the network here, from outside, unless the library has it as
an option: a form that does not help has no option.

    python benchmarks/starts.py --look --cifar cifar10-train.tar

prints for the network before its first update how its gradient agrees with that of its twin (the
same weights, ReLU for the neurons) and with that of other images; and before that, which share of
what a ReLU passes on an integer neuron rounds off, by levels and gain.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paired import Question, Study, parser_of, read
from spikesight.attention import (
    AttentionProduct,
)
from spikesight.models.neuron_choice import COUNTS_SHARE
from spikesight.neurons import (
    Arctan,
    Rectangular,
    Sigmoid,
    create_neuron,
)
from spikesight.training import TrainConfig, from_mapping
from spikesight.training.tasks.figures import Figures
from spikesight.training.trainer import Trainer
from spikesight.training.validation_round import ValidationRound
from start_forms import (
    LeakyStraightThrough,
    annealed,
    blended,
    both,
    damped,
    fine_head,
    shaped,
)

_BATCH_SIZE = 64


@dataclass(frozen=True)
class Row:
    """One form of a start.

    Attributes:
        arguments: Of the model, in the place of the setting's.
        optimizer: Fields of `optimizer` in the place of the usual ones.
        training: Fields of the configuration in the place of the usual ones.
        twin: Whether it is the ANN twin.
        change: What is done to the fresh network.
        schedule: Called with the network and the share of the run that is over, after each update
            and once before the first.
        unfused: Whether it needs normalisations and neurons apart.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    twin: bool = False
    change: Callable[[nn.Module], None] | None = None
    schedule: Callable[[nn.Module, float], None] | None = None
    unfused: bool = False


def _gain(gain: float, share: float = COUNTS_SHARE) -> dict[str, float]:
    """Gain of the normalisations, with the attention scale that goes with it."""
    return {"norm_gain": gain, "attention_scale": share / gain**2}


_MUON = {"name": "muon", "lr": 5e-3, "betas": [0.95, 0.999]}
_COMMON = {
    "usual": Row(),
    "ann twin": Row(twin=True),
    "rate x 2": Row(optimizer={"lr": 4e-3}),
    "rate x 0.5": Row(optimizer={"lr": 1e-3}),
    "norms x 5": Row(optimizer={"norm_lr_scale": 5.0}),
    "muon": Row(optimizer=_MUON),
    "unclipped": Row(training={"clip_norm": None}),
    "relu blended": Row(schedule=blended, unfused=True),
}
_SMALL = {"branch_gain": 0.2}
_COUNTS = {"head_pools": "counts"}
_BOTH = _SMALL | _COUNTS


def _integer_rows(levels: int) -> dict[str, Row]:
    """Rows of integer neurons, of which the usual ones begin at a gain of D / 4."""
    gain = levels / 4
    return _COMMON | {
        "branches from 0": Row({"branch_gain": 0.0}),
        "branches from 0.2": Row(_SMALL),
        "branches from 0.5": Row({"branch_gain": 0.5}),
        "pooled counts": Row(_COUNTS),
        "fine head": Row(change=fine_head),
        "branches from 0, pooled counts": Row({"branch_gain": 0.0} | _COUNTS),
        "branches from 0.2, pooled counts": Row(_BOTH),
        f"branches from 0.2, gain {gain * 1.5:g}": Row(_SMALL | _gain(gain * 1.5)),
        f"branches from 0.2, gain {gain * 2:g}": Row(_SMALL | _gain(gain * 2)),
        "twin, branches from 0.2": Row(_SMALL, twin=True),
        "twin, branches from 0.2, pooled counts": Row(_BOTH, twin=True),
        f"gain {gain / 2:g}": Row(_gain(gain / 2)),
        f"gain {gain * 2:g}": Row(_gain(gain * 2)),
        f"branches from 0.2, pooled counts, gain {gain * 1.5:g}": Row(_BOTH | _gain(gain * 1.5)),
        f"branches from 0.2, pooled counts, gain {gain * 2:g}": Row(_BOTH | _gain(gain * 2)),
        f"branches from 0.2, pooled counts, gain {gain * 3:g}": Row(_BOTH | _gain(gain * 3)),
        "attention x 0.25": Row(_gain(gain, COUNTS_SHARE / 4)),
        "attention x 4": Row(_gain(gain, COUNTS_SHARE * 4)),
        "leak 0.1": Row(change=shaped(LeakyStraightThrough(0.1))),
        "levels annealed": Row(schedule=annealed),
        f"branches from 0.2, pooled counts, gain {gain * 2:g}, muon": Row(
            _BOTH | _gain(gain * 2), optimizer=_MUON
        ),
        "twin, branches from 0.2, pooled counts, muon": Row(_BOTH, twin=True, optimizer=_MUON),
        f"branches from 0.2, pooled counts, gain {gain * 2:g}, levels annealed": Row(
            _BOTH | _gain(gain * 2), schedule=annealed
        ),
    }


_BINARY = _COMMON | {
    "branches from 0.2": Row(change=damped(0.2)),
    "branches from 0.5": Row(change=damped(0.5)),
    "twin, branches from 0.5": Row(twin=True, change=damped(0.5)),
    "ann twin, muon": Row(twin=True, optimizer=_MUON),
    "sigmoid 2": Row(change=shaped(Sigmoid(2.0))),
    "sigmoid 1": Row(change=shaped(Sigmoid(1.0))),
    "rectangle 2": Row(change=shaped(Rectangular(2.0))),
    "rectangle 4": Row(change=shaped(Rectangular(4.0))),
    "arctan 2": Row(change=shaped(Arctan(2.0))),
    "gain 3": Row({"norm_gain": 3.0}),
    "gain 3, sigmoid 2": Row({"norm_gain": 3.0}, change=shaped(Sigmoid(2.0))),
    "gain 4, sigmoid 2": Row({"norm_gain": 4.0}, change=shaped(Sigmoid(2.0))),
    "branches from 0.5, sigmoid 2": Row(change=both(damped(0.5), shaped(Sigmoid(2.0)))),
    "attention x 0.5": Row({"attention_scale": 0.0625}),
    "attention x 2": Row({"attention_scale": 0.25}),
}


@dataclass(frozen=True)
class Setting:
    """A small network and what it learns.

    Attributes:
        model: Fields of `model`.
        data: Fields of `data`, its path aside.
        rows: What is tried, by name.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    rows: dict[str, Row]


_FASHION = {
    "format": "idx",
    "image_size": 28,
    "channels": 1,
    "validation_fraction": 0.05,
    "random_crop_padding": 2,
}
_CIFAR = {
    "image_size": 32,
    "channels": 3,
    "validation_fraction": 0.1,
    "random_crop_padding": 4,
}


def _integer(levels: int) -> dict[str, Any]:
    """Half of a metaspikformer_nano, as it began before anything was found here."""
    sizes = {"widths": [16, 16, 32, 32, 32], "branch_gain": 1.0, "head_pools": "currents"}
    return {
        "name": "metaspikformer_nano",
        "neuron": "i_lif",
        "levels": levels,
        "arguments": sizes | _gain(levels / 4),
    }


_LIF = {
    "name": "spikformer_v2_nano",
    "neuron": "lif",
    "arguments": {"width": 32, "depth": 2, "norm_gain": 2.0, "attention_scale": 0.125},
}
SETTINGS = {
    "cifar10, I-LIF, D = 4": Setting(_integer(4), _CIFAR, _integer_rows(4)),
    "cifar10, LIF": Setting(_LIF, _CIFAR, _BINARY),
    "fashion, I-LIF, D = 4": Setting(_integer(4), _FASHION, _integer_rows(4)),
    "fashion, I-LIF, D = 8": Setting(_integer(8), _FASHION, _integer_rows(8)),
}


class _Start(Trainer):
    """A run that writes no model: its figures are all that is wanted of it."""

    def _keep_best(self, seen: ValidationRound) -> None:
        self.best = seen.own

    def _show(self, seen: ValidationRound) -> None:
        """No page either."""

    def _save_last(self, figures: Figures | None) -> None:
        self.saved = time.monotonic()


def run(options: argparse.Namespace, setting: str, name: str, seed: int) -> dict[str, Any]:
    """Trains a row of a setting; returns its figures."""
    row = SETTINGS[setting].rows[name]
    began = time.process_time()
    folder = options.output / "run"
    shutil.rmtree(folder, ignore_errors=True)
    config = configuration(SETTINGS[setting], row, seed, options, folder)
    trainer: list[_Start] = []

    def after(update: int) -> None:
        if row.schedule is not None:
            row.schedule(trainer[0].model, update / trainer[0].updates)

    trainer.append(_Start(config, after))
    if row.change is not None:
        row.change(trainer[0].model)
    if row.unfused:
        trainer[0].fusion = nullcontext()
    after(0)
    result = cast(Any, trainer[0].run().last)
    return {
        "top1": result.top1,
        "loss": result.loss,
        "firing_rate": result.firing_rate,
        "seconds": round(time.process_time() - began),
    }


def configuration(
    setting: Setting, row: Row, seed: int, options: argparse.Namespace, folder: Path
) -> TrainConfig:
    """The run of a row."""
    arguments = setting.model["arguments"] | row.arguments
    model = setting.model | {"arguments": arguments}
    if row.twin:
        model |= {"neuron": "relu", "levels": None}
        # ReLUs have no levels to fill.
        model |= {"arguments": arguments | _gain(1.0)}
    data = setting.data | {"path": options.fashion}
    if setting.data is _CIFAR:
        # The archive that CIFAR-10 comes as, or a tar of class folders.
        kind = "tar" if Path(options.cifar).suffix == ".tar" else "cifar10"
        data |= {"path": options.cifar, "format": kind}
    values: dict[str, Any] = {
        "model": model,
        "output": str(folder),
        "data": data | {"horizontal_flip": True, "workers": 0},
        "optimizer": {"lr": 2e-3} | row.optimizer,
        "schedule": {"warmup_updates": options.updates // 10},
        "epochs": 1,
        "limit_batches": options.updates,
        "batch_size": _BATCH_SIZE,
        "label_smoothing": 0.05,
        "device": "cpu",
        "seed": seed,
    }
    return from_mapping(TrainConfig, values | row.training)


def study(setting: str) -> Study:
    """The rows of a setting, each asked against the usual one."""
    rows = SETTINGS[setting].rows
    return Study(
        rows=tuple(rows),
        questions=tuple(
            Question(name, name, "usual", "no figure known to us")
            for name in rows
            if name != "usual"
        ),
        column="top1",
        caption="validation top-1",
        further={"firing_rate": "firing rate"},
    )


def rounded_off(levels: int, gain: float) -> float:
    """Variance that an I-LIF rounds off, over that of a ReLU of the same normal current."""
    quantiles = torch.linspace(0, 1, 100_002, dtype=torch.float64)[1:-1]
    current = torch.special.ndtri(quantiles)
    passed = current.relu()
    counts = create_neuron("i_lif", levels=levels)(gain * current) / gain
    return float((passed - counts).square().mean() / passed.var())


def look(options: argparse.Namespace) -> None:
    """Prints what is rounded off, and how the gradients of a fresh network agree (mean cosine)."""
    gains = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    print(f"| D | {' | '.join(f'gain {gain:g}' for gain in gains)} |")
    print("|---" * (len(gains) + 1) + "|")
    for levels in (1, 2, 4, 8, 16):
        shares = (f"{100 * rounded_off(levels, gain):.1f} %" for gain in gains)
        print(f"| {levels} | {' | '.join(shares)} |")
    print(flush=True)
    print("| setting | row | with its twin | with other images | twin's with other images |")
    print("|---|---|---|---|---|", flush=True)
    for name in options.settings:
        setting = SETTINGS[name]
        for title, row in setting.rows.items():
            if (options.only and title not in options.only) or row.twin or row.schedule:
                continue
            found = [_agreement(setting, row, seed, options) for seed in options.seeds]
            means = [sum(values) / len(found) for values in zip(*found, strict=True)]
            cells = " | ".join(f"{value:.2f}" for value in means)
            print(f"| {name} | {title} | {cells} |", flush=True)


def _agreement(
    setting: Setting, row: Row, seed: int, options: argparse.Namespace
) -> tuple[float, float, float]:
    """Agreement with the twin, with other images, and the twin's with other images."""
    folder = options.output / "look"
    spiking, twin = (
        _Start(configuration(setting, form, seed, options, folder))
        for form in (row, replace(row, twin=True))
    )
    twin.model.load_state_dict(spiking.model.state_dict())
    products = (
        [part for part in start.model.modules() if isinstance(part, AttentionProduct)]
        for start in (spiking, twin)
    )
    for own, other in zip(*products, strict=True):
        other.scale = own.scale
    gradients = []
    for start in (spiking, twin):
        if row.change is not None:
            row.change(start.model)
        start.task.train.set_epoch(0, 0)
        batches = list(islice(start.task.train, 8))
        gradients += [_gradients(start, batches[:4]), _gradients(start, batches[4:])]
    own, own_again, twins, twins_again = gradients
    return _cosine(own, twins), _cosine(own, own_again), _cosine(twins, twins_again)


def _gradients(start: _Start, batches: list[Any]) -> dict[str, Tensor]:
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    prepared = start.task.prepare(images, labels, 0, 0)
    start.model.zero_grad()
    start.model.train()
    start.objective(prepared.images, start.model(prepared.images), prepared.targets).backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in start.model.named_parameters()
        if parameter.ndim > 1 and parameter.grad is not None
    }


def _cosine(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    each = [
        float(F.cosine_similarity(first[name].flatten(), second[name].flatten(), 0))
        for name in first
    ]
    return sum(each) / len(each)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(
        __doc__,
        "starts",
        dict.fromkeys([row for setting in SETTINGS.values() for row in setting.rows]),
    )
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--cifar", default="cifar10-train.tar")
    parser.add_argument("--fashion", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--updates", type=int, default=240)
    parser.add_argument("--look", action="store_true", help="gradients before the first update")
    options = parser.parse_args(arguments)
    if options.look:
        look(options)
        return
    results = options.output / "results.csv"
    for setting in options.settings:
        asked = study(setting)
        if not options.table:
            rows = [row for row in options.only or asked.rows if row in asked.rows]
            asked.run(
                results,
                rows,
                options.seeds,
                f"{setting}, {options.updates} updates of {_BATCH_SIZE}",
                partial(run, options, setting),
            )
        found = [line for line in read(results) if line["settings"].startswith(f"{setting},")]
        print(asked.table(found))


if __name__ == "__main__":
    main()
