"""What each decision of configs/cifar10_small.yaml gains: short runs without it, paired seeds.

    python benchmarks/cifar10_recipe.py --data cifar10-train.tar --output cifar10_recipe
    python benchmarks/cifar10_recipe.py --output cifar10_recipe --table

A row is the recipe with one decision taken back, over the same number of images, and its figure is
that of the averaged weights after the last update. A run that is in results.csv of the output is
not repeated, so the command can be stopped and given again, with more seeds or rows.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from paired import Question, Study, parser_of, read
from spikesight.training import TrainConfig, train
from spikesight.training.config import override

_RECIPE = Path(__file__).parents[1] / "configs" / "cifar10_small.yaml"
_BATCH = 256
_ADAMW = {"optimizer": {"name": "adamw", "lr": 2e-3, "betas": [0.9, 0.999]}, "batch_size": 128}
ROWS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "adamw for muon": _ADAMW,
    "not whitened": {"model": {"whitened": False}},
    "flips at random": {"data": {"alternate_flip": False, "horizontal_flip": True}},
    "narrow stem": {
        "model": {"arguments": {"stem_widths": [64, 128, 256], "strides": [2, 2, 2]}},
    },
    "stem of Spikformer V2": {
        "model": {
            "arguments": {
                "stem": "scs",
                "stem_widths": [64, 128, 256],
                "strides": [2, 2, 2],
                "expansion": 2,
            }
        },
    },
    "no transformer block": {"model": {"arguments": {"depth": 0}}},
    "D = 4": {"model": {"levels": 4}},
    "D = 16": {"model": {"levels": 16}},
    "ann twin": {"model": {"neuron": "relu", "levels": None}},
}
STUDY = Study(
    rows=tuple(ROWS),
    questions=tuple(
        Question(name, name, "the recipe", "no figure known to us")
        for name in ROWS
        if name != "the recipe"
    ),
    column="top1",
    caption="validation top-1",
    further={"seconds": "seconds of processor time"},
)


def run(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Trains a row; returns its figures."""
    folder = options.output / "run"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.process_time()
    train(configuration(ROWS[name], seed, options, folder))
    with (folder / "metrics.csv").open(newline="") as file:
        (*_, last) = csv.DictReader(file)
    return {"top1": last["ema_top1"], "seconds": round(time.process_time() - began)}


def configuration(
    row: dict[str, Any], seed: int, options: argparse.Namespace, folder: Path
) -> TrainConfig:
    """The run of a row."""
    data = Path(options.data)
    batch = row.get("batch_size", _BATCH)
    common = {
        "output": str(folder),
        "seed": seed,
        "epochs": 1,
        "validate_every": 1,
        "limit_batches": options.images // batch,
        "schedule": {"warmup_epochs": 0.2},
        "ema": {"decay": 0.98 if batch == _BATCH else 0.99},
        "data": {"path": str(data), "format": "tar" if data.suffix == ".tar" else "cifar10"},
    }
    return override(override(TrainConfig.load(_RECIPE), common), row)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, "cifar10_recipe", ROWS)
    parser.add_argument("--data", default="cifar10-train.tar", help="as the recipe reads it")
    parser.add_argument("--images", type=int, default=15360, help="that a row sees")
    options = parser.parse_args(arguments)
    results = options.output / "results.csv"
    if not options.table:
        settings = f"{options.images} images"
        rows = options.only or STUDY.rows
        STUDY.run(results, rows, options.seeds, settings, partial(run, options))
    print(STUDY.table(read(results)))


if __name__ == "__main__":
    main()
