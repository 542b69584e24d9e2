"""Spike2Former and SpikeFPN over the same pre-trained trunk, at several lengths, with paired seeds.

    python benchmarks/segmenters_fairly.py --camvid camvid --pets pets3 --cifar cifar10-train.tar
    python benchmarks/segmenters_fairly.py --table --write docs/segmenters_fairly.md

Both, and the ANN twin of each, read metaspikformer_nano, which has learned to classify CIFAR-10
(for CamVid and pets) or painted digits (for scenes of digits); the twins start from a trunk that
learned the same with ReLU. All learn from the same photos, by configs/camvid_small.yaml's optimiser
and schedule, which ends with the run, so that each length is a run of its own. A run that is in
results.csv is not repeated, one that was interrupted goes on; the shortest come first.
"""

from __future__ import annotations

import csv
import math
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from paired import Question, Results, Study, answer, parser_of, read
from spikesight.training import TrainConfig, train
from spikesight.training.config import from_mapping, merge
from spikesight.training.tasks.segmentation.evaluation import SemanticFigures
from street_runs import RECIPE

CONFIGS = RECIPE.parent
_QUERIES, _PIXELS, _TWIN = "Spike2Former", "SpikeFPN", ", ANN twin"
_NAMES = {_QUERIES: "spike2former_nano", _PIXELS: "spike_fpn_nano"}
ROWS = {
    name + kind: (name, neuron)
    for name in _NAMES
    for kind, neuron in (("", "ni_lif"), (_TWIN, "relu"))
}
COMPARED = Question("Spike2Former for SpikeFPN", _QUERIES, _PIXELS, "+12.7 (for T x D 4 x 1)")
STUDY = Study(
    tuple(ROWS),
    (
        COMPARED,
        Question("their twins", _QUERIES + _TWIN, _PIXELS + _TWIN, "not reported"),
        *(
            Question(f"spikes for ReLU in {name}", name, name + _TWIN, "not reported")
            for name in _NAMES
        ),
    ),
    "averaged_miou",
    "validation mIoU of the averaged weights",
    {"miou": "mIoU of the last weights", "firing_rate": "mean firing rate"},
)


@dataclass(frozen=True)
class Photos:
    """What is segmented.

    Attributes:
        classes: Their number.
        scenes: The configuration's section, without the path.
        trunk: What the trunk has learned: the configuration of a classifier.
        batch_size: Photos of an update.
    """

    classes: int
    scenes: dict[str, Any]
    trunk: dict[str, Any]
    batch_size: int = 8


_TRUNK_ARGUMENTS = {
    "strides": [2, 2, 2, 2, 1],
    "attention_scale": None,
    "attention_mean": True,
    "norm_gain": None,
}
_CIFAR = {
    "data": {
        "format": "tar",
        "image_size": 32,
        "channels": 3,
        "validation_fraction": 0.1,
        "in_memory": True,
        "random_crop_padding": 4,
        "horizontal_flip": True,
    },
    "model": {"arguments": {**_TRUNK_ARGUMENTS, "strides": [1, 1, 2, 2, 1]}},
    "epochs": 6,
    "batch_size": 128,
}
_AUGMENTED = {"scale_range": [0.75, 2.0], "flip": True, "photometric_distortion": True}
SETS: dict[str, Photos] = {
    "camvid": Photos(
        11,
        {
            "format": "camvid",
            "crop_size": [96, 128],
            "base_short_side": 96,
            "evaluation_size": [96, 128],
            "largest_category_share": 0.75,
            **_AUGMENTED,
        },
        _CIFAR,
    ),
    "pets": Photos(
        2,
        {
            "format": "oxford_pet",
            "train_list": "trainval",
            "validation_fraction": 0.2,
            "crop_size": [96, 96],
            "base_short_side": 96,
            "evaluation_size": [96, 144],
            **_AUGMENTED,
        },
        _CIFAR,
    ),
    "digits": Photos(
        11,
        {
            "format": "digit_scenes",
            "crop_size": [80, 80],
            "background": "dark",
            "objects": [1, 4],
            "object_size": [0.3, 0.55],
            "scenes": 800,
            "validation_scenes": 200,
        },
        {},
        batch_size=16,
    ),
}
INTRODUCTION = """# Spike2Former and SpikeFPN, asked fairly

`benchmarks/segmenters_fairly.py` trains both, and the ANN twin of each, over `metaspikformer_nano`
with D = 4: the trunk has first learned to classify CIFAR-10 (for CamVid, 11 classes, 367 photos of
96x128 pixels an epoch, and for pets, pet and background, 240 photos of 96x96) or painted digits
(for scenes of digits, ten classes and the ground, 800 scenes of 80x80). Twins start from a trunk of
ReLUs that learned the same. Optimiser and augmentation are those of `configs/camvid_small.yaml`,
with a moving average of the weights; the schedule ends with the run, so each length is a run of
its own. Spike2Former has what helped its queries (docs/query_helps.md): query k for class k, pixel
heads and the semantic map's loss.

```
python benchmarks/segmenters_fairly.py --camvid camvid --pets pets3 --cifar cifar10-train.tar
python benchmarks/segmenters_fairly.py --table --write FILE
```

The paper's +12.7 points are on ADE20K, for T x D = 4 x 1, after 160,000 updates over a trunk that
knows ImageNet."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    results = options.output / "results.csv"
    if not options.table:
        for length in options.lengths:
            for name in options.sets:
                STUDY.run(
                    results,
                    options.only or list(ROWS),
                    options.seeds,
                    settings(name, length),
                    lambda row, seed, name=name, length=length: measure(  # type: ignore[misc]
                        row, name, length, seed, options
                    ),
                )
    table = f"{verdicts(read(results))}\n\n{STUDY.table(_in_order(read(results)))}"
    print(table)
    if options.write is not None:
        options.write.write_text(f"{INTRODUCTION}\n\n{table}\n", encoding="utf-8")


def _parser() -> ArgumentParser:
    parser = parser_of(__doc__, "runs/segmenters_fairly", ROWS)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 30, 90], help="in epochs")
    parser.add_argument("--camvid", default="camvid", help="its folder")
    parser.add_argument("--pets", default="pets3", help="folder of Oxford-IIIT Pet's layout")
    parser.add_argument("--cifar", default="cifar10-train.tar", help="class folders or a tar")
    parser.add_argument("--trunk-epochs", type=int, help="shorter pre-training, for a trial")
    parser.add_argument("--limit-batches", type=int, help="shorter epochs, for a trial")
    parser.add_argument("--write", type=Path, help="Markdown file to write the table to")
    return parser


def settings(name: str, epochs: int) -> str:
    """What two runs must share to be compared."""
    return f"{name}, {epochs} epochs"


def measure(row: str, name: str, epochs: int, seed: int, options: Namespace) -> dict[str, Any]:
    """Trains a row; its figures by column, those of the averaged weights too."""
    began = time.monotonic()
    config = configuration(row, name, epochs, seed, options)
    train(trunk_configuration(row, name, options))
    result = train(config)
    figures = result.last
    assert isinstance(figures, SemanticFigures)
    with (result.folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    return {
        "averaged_miou": float(last["ema_miou"]),
        "miou": figures.miou,
        "firing_rate": figures.firing_rate,
        "seconds": round(time.monotonic() - began),
    }


def trunk_configuration(row: str, name: str, options: Namespace) -> TrainConfig:
    """The classifier whose trunk a row starts from; one for all seeds and lengths."""
    neuron = ROWS[row][1]
    learned = SETS[name].trunk
    label = "cifar10" if learned else "digits"
    changes: dict[str, Any] = {
        "output": str(options.output / "trunks" / f"{label}_{neuron}"),
        "model": {"neuron": neuron},
        "data": {"path": options.cifar} if learned else {},
        "device": "cpu",
        "resume": True,
    }
    config = TrainConfig.load(CONFIGS / "painted_digits_nano.yaml", **merge(learned, changes))
    config.epochs = options.trunk_epochs or config.epochs
    config.validate_every = config.epochs
    config.limit_batches = options.limit_batches
    return config


def configuration(row: str, name: str, epochs: int, seed: int, options: Namespace) -> TrainConfig:
    """One run: configs/camvid_small.yaml's optimiser and schedule on other photos."""
    photos, (model, neuron) = SETS[name], ROWS[row]
    words = "".join(c if c.isalnum() else "_" for c in f"{name}_{row}_{epochs}_{seed}")
    paths = {"camvid": options.camvid, "pets": options.pets, "digits": ""}
    changes: dict[str, Any] = {
        "output": str(options.output / "runs" / words),
        "scenes": {**photos.scenes, "path": paths[name], "workers": 0},
        "schedule": {"warmup_updates": None, "warmup_epochs": min(2, epochs / 5)},
        "ema": {"decay": 0.99},
        "epochs": epochs,
        "validate_every": epochs,
        "batch_size": photos.batch_size,
        "device": "cpu",
        "seed": seed,
        "resume": True,
        "limit_batches": options.limit_batches,
    }
    recipe = TrainConfig.load(RECIPE).to_mapping()
    optimiser = {part: recipe[part] for part in ("optimizer", "schedule", "clip_norm")}
    fields = merge({"task": "semantic", **optimiser}, changes)
    fields["model"] = {
        "name": _NAMES[model],
        "neuron": neuron,
        "levels": 4,
        "weights": trunk_configuration(row, name, options).output,
    }
    if model == _QUERIES:
        area = math.prod(photos.scenes["crop_size"]) / math.prod(recipe["scenes"]["crop_size"])
        fields["model"]["arguments"] = {"queries": photos.classes, "pixel_heads": True}
        fields["segmentation"] = {
            "loss": {
                "points": round(recipe["segmentation"]["loss"]["points"] * area),
                "assignment": "fixed",
                "auxiliary_pixel_loss": 1.0,
                "semantic_map_loss": 1.0,
            }
        }
    if neuron == "relu":
        del fields["model"]["levels"]
    return from_mapping(TrainConfig, fields)


def verdicts(results: Results) -> str:
    """By photos and length: both segmenters, and which of them is ahead."""
    lines = [
        "| photos, length | Spike2Former | SpikeFPN | difference (95 % interval) | seeds | ahead |",
        "|---|---|---|---|---|---|",
    ]
    for name, length in _settings(results):
        found = {
            row: {
                int(line["seed"]): float(line["averaged_miou"])
                for line in results
                if (line["row"], line["settings"]) == (row, settings(name, length))
            }
            for row in (_QUERIES, _PIXELS)
        }
        seeds = sorted(found[_QUERIES].keys() & found[_PIXELS].keys())
        if not seeds:
            continue
        shown, verdict = answer([found[_QUERIES][s] - found[_PIXELS][s] for s in seeds], "?")
        ahead = {"better": _QUERIES, "worse": _PIXELS}.get(verdict, verdict)
        means = (f"{mean(found[row][s] for s in seeds):.2f}" for row in (_QUERIES, _PIXELS))
        lines.append(
            f"| {settings(name, length)} | {' | '.join(means)} | {shown} | {len(seeds)} | {ahead} |"
        )
    return "\n".join(lines)


def _settings(results: Results) -> list[tuple[str, int]]:
    present = {line["settings"] for line in results}
    pairs = [(name, int(text.split()[1])) for text in present for name in [text.split(",")[0]]]
    return sorted(pairs, key=lambda pair: (list(SETS).index(pair[0]), pair[1]))


def _in_order(results: Results) -> Results:
    order = [settings(*pair) for pair in _settings(results)]
    return sorted(results, key=lambda line: order.index(line["settings"]))


if __name__ == "__main__":
    main()
