"""The recipes for small data sets, each beside its ANN twin and without what it is made of.

    python benchmarks/recipes.py nmnist --data nmnist --seeds 0 1 2
    python benchmarks/recipes.py sign_digits --data sign-digits --groups series.csv
    python benchmarks/recipes.py tiny_imagenet --data tiny-imagenet-25
    python benchmarks/recipes.py pets --data pets3
    python benchmarks/recipes.py nmnist --table

A row is a file of configs/ with some fields changed. A seed is that of the run and of the split, so
every seed has other validation images. The figure is that of the averaged weights after the last
epoch, not the best of several validations. A run that is in results.csv of the output is not
repeated, one that was interrupted goes on.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paired import Question, Study, parser_of, read
from spikesight.training import TrainConfig, train
from spikesight.training.config import override

_ROOT = Path(__file__).parents[1]
_TRUNK = str(_ROOT / "weights" / "cifar10_tiny")
_FROM = {"model": {"weights": _TRUNK}}
_TWIN = {"model": {"neuron": "relu"}}
_UNKNOWN = "not reported"


@dataclass(frozen=True)
class Recipe:
    """A data set's recipe and what it is compared with.

    Attributes:
        config: Name of the file in configs/.
        column: Of metrics.csv: the figure, of averaged weights.
        caption: What tables call it.
        rows: Changes of each row.
        questions: What is asked.
    """

    config: str
    column: str
    caption: str
    rows: dict[str, dict[str, Any]]
    questions: tuple[Question, ...]


def _events(**fields: Any) -> dict[str, Any]:
    return {"data": {"events": fields}}


# The twin, too, starts from the weights of the spiking network.
_TRANSFER: dict[str, dict[str, Any]] = {
    "from CIFAR-10": _FROM,
    "from CIFAR-10, ANN twin": {"model": {"weights": _TRUNK, "neuron": "relu"}},
    "scratch": {},
    "scratch, ANN twin": _TWIN,
}
_GAINS = (
    Question("CIFAR-10's weights", "from CIFAR-10", "scratch", _UNKNOWN),
    Question("spikes for ReLU, scratch", "scratch", "scratch, ANN twin", _UNKNOWN),
    Question("spikes for ReLU, from weights", "from CIFAR-10", "from CIFAR-10, ANN twin", _UNKNOWN),
)
_MUON = {"optimizer": {"name": "muon", "betas": [0.95, 0.999]}}
_TINY = {"name": "metaspikformer_tiny", "levels": 16}
RECIPES = {
    "nmnist": Recipe(
        "nmnist_nano",
        "ema_top1",
        "validation top-1",
        {
            "recipe": {},
            "recipe, ANN twin": _TWIN,
            "one operation at a time": _events(combine=False),
            "no augmentation": _events(roll=0, rotation=0, shear=0, scale=0, jitter=0, drop=False),
            "polarities swapped": _events(polarity=True),
            "no EventDrop": _events(drop=False),
            "AdamW": {"optimizer": {"name": "adamw", "betas": [0.9, 0.999]}},
            "two fifths of the epochs": {"epochs": 40},
        },
        (
            Question("spikes for ReLU", "recipe", "recipe, ANN twin", _UNKNOWN),
            Question(
                "all operations at once for one", "recipe", "one operation at a time", _UNKNOWN
            ),
            Question("augmentation", "recipe", "no augmentation", _UNKNOWN),
            Question("polarities swapped in half", "polarities swapped", "recipe", _UNKNOWN),
            Question("EventDrop", "recipe", "no EventDrop", _UNKNOWN),
            Question("Muon for AdamW", "recipe", "AdamW", _UNKNOWN),
            Question("2.5 times the epochs", "recipe", "two fifths of the epochs", _UNKNOWN),
        ),
    ),
    "sign_digits": Recipe("sign_digits_tiny", "ema_top1", "validation top-1", _TRANSFER, _GAINS),
    "tiny_imagenet": Recipe(
        "tiny_imagenet_nano",
        "ema_top1",
        "validation top-1",
        {
            "nano, scratch": {},
            "nano, scratch, ANN twin": _TWIN,
            "nano, scratch, Muon": _MUON,
            "tiny, from CIFAR-10": {"model": _TINY | {"weights": _TRUNK}, "epochs": 8},
            "tiny, scratch": {"model": _TINY, "epochs": 8},
        },
        (
            Question("spikes for ReLU", "nano, scratch", "nano, scratch, ANN twin", _UNKNOWN),
            Question("Muon for AdamW", "nano, scratch, Muon", "nano, scratch", _UNKNOWN),
            Question("CIFAR-10's weights", "tiny, from CIFAR-10", "tiny, scratch", _UNKNOWN),
        ),
    ),
    "pets": Recipe("pets_spike_fpn_tiny", "ema_miou", "validation mIoU", _TRANSFER, _GAINS),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, "runs/recipes", {n for r in RECIPES.values() for n in r.rows})
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--data", help="folder of the data")
    parser.add_argument("--groups", help="table of the series of sign_digits")
    parser.add_argument("--epochs", type=int, help="fewer than the recipe's")
    parser.add_argument("--limit-batches", type=int, help="of an epoch, for trials")
    options = parser.parse_args(arguments)
    recipe = RECIPES[options.recipe]
    results = options.output / options.recipe / "results.csv"
    path = _ROOT / "configs" / f"{recipe.config}.yaml"
    study = Study(
        tuple(recipe.rows),
        recipe.questions,
        "figure",
        recipe.caption,
        {"epochs": "epochs", "firing_rate": "mean firing rate", "seconds": "seconds"},
    )

    def run(name: str, seed: int) -> dict[str, Any]:
        began = time.monotonic()
        config = override(TrainConfig.load(path), recipe.rows[name])
        epochs = options.epochs or config.epochs
        section = "data" if config.task == "classification" else "scenes"
        given = {"path": options.data, "groups": options.groups}
        where = {key: value for key, value in given.items() if value is not None}
        words = "".join(c if c.isalnum() else "_" for c in name)
        changes = {
            section: {**where, "split_seed": seed, "workers": 0},
            "output": str(results.parent / f"{words}_{epochs}_{seed}"),
            "epochs": epochs,
            "limit_batches": options.limit_batches,
            "seed": seed,
            "resume": True,
        }
        folder = train(override(config, changes)).folder
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            last = list(csv.DictReader(file))[-1]
        return {
            "figure": float(last[recipe.column]),
            "epochs": epochs,
            "firing_rate": last["firing_rate"],
            "seconds": round(time.monotonic() - began),
        }

    if not options.table:
        rows = options.only or study.rows
        settings = "the recipe" if options.epochs is None else f"epochs={options.epochs}"
        study.run(results, rows, options.seeds, settings, run)
    print(study.table(read(results)))


if __name__ == "__main__":
    main()
