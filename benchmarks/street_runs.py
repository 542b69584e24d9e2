"""Short semantic trainings on street photos, for paired studies."""

from __future__ import annotations

import math
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import spikesight as ss
from paired import Study, parser_of, read
from spikesight.neurons import Neuron
from spikesight.training import TrainConfig, train
from spikesight.training.config import merge
from spikesight.training.tasks.segmentation.evaluation import SemanticFigures
from spikesight.training.tasks.validation import sample_images

RECIPE = Path(__file__).parents[1] / "configs" / "camvid_small.yaml"
_WATCHED = 32  # validation photos on which the firing rate of a neuron is measured


def street_parser(description: str | None, output: str, rows: Iterable[str]) -> ArgumentParser:
    """Options that every study of street photos has."""
    parser = parser_of(description, output, rows)
    parser.add_argument("--data", default="camvid", help="folder of CamVid")
    parser.add_argument("--height", type=int, default=96, help="rows of a photo; 4 to 3 wide")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--write", type=Path, help="Markdown file to write the table to")
    return parser


def settings(options: Namespace) -> str:
    """What two runs must share to be compared."""
    names = ("height", "epochs", "batch_size")
    return " ".join(f"{name}={getattr(options, name)}" for name in names)


def configuration(
    name: str,
    model: dict[str, Any],
    seed: int,
    options: Namespace,
    further: dict[str, Any] | None = None,
) -> TrainConfig:
    """One run: configs/camvid_small.yaml, smaller and shorter, with points of the loss by area.

    Args:
        name: Name of the row.
        model: Fields of the model's configuration.
        seed: The run's seed.
        options: Of the study.
        further: Other fields of the configuration that the row changes.
    """
    words = "".join(c if c.isalnum() else "_" for c in name)
    size = [options.height, options.height * 4 // 3]
    changes: dict[str, Any] = {
        "model": {"neuron": "ni_lif", **model},
        "output": str(options.output / "runs" / f"{words}_{seed}"),
        "scenes": {
            "path": options.data,
            "crop_size": size,
            "base_short_side": options.height,
            "evaluation_size": size,
            "workers": 0,
        },
        "schedule": {"warmup_updates": None, "warmup_epochs": 1},
        "epochs": options.epochs,
        "validate_every": options.epochs,
        "batch_size": options.batch_size,
        "device": "cpu",
        "seed": seed,
        "resume": True,
    }
    config = TrainConfig.load(RECIPE, **merge(changes, further or {}))
    whole = TrainConfig.load(RECIPE).scenes.crop_size
    loss = config.segmentation.loss
    loss["points"] = round(loss["points"] * math.prod(size) / math.prod(whole))
    if config.model.name.startswith(("semantic_fpn", "spike_fpn")):
        config.model.arguments, config.segmentation.loss = {}, {}
    return config


def run(
    name: str,
    model: dict[str, Any],
    seed: int,
    options: Namespace,
    watched: str = "mask_embedding.embedding_neuron",
    further: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains and validates one form; its figures by column.

    Args:
        name: Name of the row.
        model: Fields of the model's configuration.
        seed: The run's seed.
        options: Of the study.
        watched: The neuron whose firing rate is measured.
        further: Other fields of the configuration that the row changes.
    """
    began = time.monotonic()
    result = train(configuration(name, model, seed, options, further))
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
    """Mean spike of one neuron on validation photos; None where there is no such one."""
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


def conduct(
    study: Study,
    options: Namespace,
    measure: Callable[[str, int], dict[str, Any]],
    introduction: str,
) -> None:
    """Measures what is not there yet, unless only the table is asked for, and reports.

    Args:
        study: The study.
        options: As `street_parser` parses them.
        measure: Trains a row with a seed and returns its figures by column.
        introduction: What stands before the table in a file.
    """
    if not options.table:
        rows = options.only or list(study.rows)
        results = options.output / "results.csv"
        study.run(results, rows, options.seeds, settings(options), measure)
    report(study, options, introduction)


def report(study: Study, options: Namespace, introduction: str) -> None:
    """Prints what was measured, and writes it to a file if asked for."""
    results = read(options.output / "results.csv")
    dates = sorted({line["date"] for line in results})
    # Lines that were measured before 2026-11-29 do not say on which.
    processors = sorted({line.get("processor") or "a CPU" for line in results})
    when = f"{' and '.join(processors)}, {', '.join(dates)}"
    table = f"Measured on {when}:\n\n{study.table(results)}"
    print(table)
    if options.write is not None:
        options.write.write_text(f"{introduction}\n\n{table}\n", encoding="utf-8")
