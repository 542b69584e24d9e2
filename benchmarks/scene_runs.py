"""Short semantic trainings on composed scenes of handwritten digits, for paired studies."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import spikesight as ss
from paired import Study, read
from spikesight.neurons import Neuron
from spikesight.training import TrainConfig, from_mapping, train
from spikesight.training.segmentation_evaluation import SemanticFigures
from spikesight.training.validation import sample_images

# Digits are small: dice, which counts areas, and classes weigh more than in the paper's recipe.
_LOSS = {"class_weight": 2.0, "dice_weight": 5.0, "auxiliary_pixel_loss": 1.0}
_WATCHED = 32  # validation scenes on which the firing rate of a neuron is measured


def parser_of(description: str | None, rows: Sequence[str], output: str, batches: int) -> Any:
    """Options that every study of scenes has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(output))
    parser.add_argument("--model", default="spike2former_nano")
    parser.add_argument("--size", type=int, default=48, help="side of a scene in pixels")
    parser.add_argument("--batches", type=int, default=batches, help="updates of a run")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--scenes", type=int, default=8000, help="different training scenes")
    parser.add_argument("--validation-scenes", type=int, default=200)
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=rows, metavar="ROW", help="these rows alone")
    parser.add_argument("--table", action="store_true", help="show what is measured; run nothing")
    parser.add_argument("--write", type=Path, help="Markdown file to write the table to")
    return parser


def settings(options: argparse.Namespace) -> str:
    """What two runs must share to be compared."""
    names = ("model", "size", "batches", "batch_size", "scenes", "validation_scenes", "lr")
    return " ".join(f"{name}={getattr(options, name)}" for name in names)


def configuration(
    name: str, model: dict[str, Any], seed: int, options: argparse.Namespace
) -> TrainConfig:
    """One run: a single epoch of so many updates."""
    words = "".join(c if c.isalnum() else "_" for c in name)
    pixels = model.get("name", options.model).startswith("spike_fpn")
    values: dict[str, Any] = {
        "task": "semantic",
        "model": {"name": options.model, "neuron": "ni_lif", "levels": 4, "steps": 1, **model},
        "output": str(options.output / "runs" / f"{words}_{seed}"),
        "scenes": {
            "format": "digit_scenes",
            "background": "plain",
            "crop_size": [options.size, options.size],
            "scenes": options.scenes,
            "validation_scenes": options.validation_scenes,
            "workers": 0,
        },
        "segmentation": {} if pixels else {"loss": _LOSS},
        "optimizer": {"name": "adamw", "lr": options.lr, "weight_decay": 0.005},
        "schedule": {"name": "poly", "power": 1.0, "warmup_updates": options.batches // 10},
        "epochs": 1,
        "limit_batches": options.batches,
        "batch_size": options.batch_size,
        "clip_norm": 0.1,
        "log_every": options.log_every,
        "device": "cpu",
        "seed": seed,
        "resume": True,
    }
    return from_mapping(TrainConfig, values)


def run(
    name: str,
    model: dict[str, Any],
    seed: int,
    options: argparse.Namespace,
    watched: str = "mask_embedding.embedding_neuron",
) -> dict[str, Any]:
    """Trains and validates one form; its figures by column.

    Args:
        name: Name of the row.
        model: Fields of the model's configuration.
        seed: The run's seed.
        options: Of the study.
        watched: The neuron whose firing rate is measured.
    """
    began = time.monotonic()
    result = train(configuration(name, model, seed, options))
    figures = result.last
    assert isinstance(figures, SemanticFigures)
    return {
        "miou": figures.miou,
        "pixel_accuracy": figures.pixel_accuracy,
        "firing_rate": figures.firing_rate,
        "last_rate": firing_rate(result.folder / "last", watched),
        "silent": len(figures.silent_neurons),
        "seconds": round(time.monotonic() - began),
    }


@torch.no_grad()
def firing_rate(folder: Path, neuron: str) -> float | None:
    """Mean spike of one neuron on validation scenes; None where there is no such neuron."""
    model = ss.load(folder)
    found = dict(model.named_modules()).get(neuron)
    if not isinstance(found, Neuron) or found.dynamics is None:
        return None
    rates: list[float] = []

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        rates.append(float(output.mean()) / found.unit / found.levels)

    handle = found.register_forward_hook(note)
    model(sample_images(folder, count=_WATCHED))
    handle.remove()
    return rates[-1]


def report(study: Study, options: argparse.Namespace, introduction: str) -> None:
    """Prints what was measured, and writes it to a file if asked for."""
    table = study.table(read(options.output / "results.csv"))
    print(table)
    if options.write is not None:
        options.write.write_text(f"{introduction}\n\n{table}\n", encoding="utf-8")
