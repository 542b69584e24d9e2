"""What Spikformer V2's parts and its masked-image pre-training do, on small models, paired seeds.

    python benchmarks/pretraining.py --data cifar10-train.tar --output pretraining --seeds 0 1 2
    python benchmarks/pretraining.py --output pretraining --table

Every row is trained on the same number of images, pre-training included, with the same recipe and
seeds. A run that is in results.csv of the output is not repeated, one that was interrupted goes on;
so the command can be stopped and given again, with more seeds or rows. What is known of the paper's
own order (ImageNet, 300 epochs) stands beside ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import spikesight as ss
from paired import Question, Study, parser_of, read
from spikesight.training import Evaluation, TrainConfig, from_mapping, train


@dataclass(frozen=True)
class Row:
    """One form of the network.

    Attributes:
        arguments: Sizes that differ from the first row's.
        steps: Time steps T.
        neuron: Its neurons.
        pretrained: Whether half of the images are for masked-image pre-training.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    steps: int = 1
    neuron: str = "lif"
    pretrained: bool = False


_DEEP = {"depth": 6}
_BASE = "2 blocks"
ROWS: dict[str, Row] = {
    _BASE: Row(),
    "2 blocks, pre-trained": Row(pretrained=True),
    "6 blocks": Row(_DEEP),
    "6 blocks, pre-trained": Row(_DEEP, pretrained=True),
    "SPS": Row({"stem": "sps"}),
    "plain stem": Row({"stem": "plain"}),
    "softmax attention": Row({"attention": "softmax"}),
    "T = 2": Row(steps=2),
    "T = 4": Row(steps=4),
    "ann twin": Row(neuron="relu"),
}


_UNKNOWN = "no figure known to us"
QUESTIONS = (
    Question("pre-training, 2 blocks", "2 blocks, pre-trained", _BASE, _UNKNOWN),
    Question(
        "pre-training, 6 blocks",
        "6 blocks, pre-trained",
        "6 blocks",
        "+ (16 blocks; no figure without it)",
    ),
    Question("6 blocks for 2, from scratch", "6 blocks", _BASE, _UNKNOWN),
    Question(
        "6 blocks for 2, pre-trained", "6 blocks, pre-trained", "2 blocks, pre-trained", _UNKNOWN
    ),
    Question("SCS for SPS", _BASE, "SPS", "+ (V2 over V1)"),
    Question("SCS for a plain stem", _BASE, "plain stem", _UNKNOWN),
    Question("SSA for softmax attention", _BASE, "softmax attention", _UNKNOWN),
    Question("T = 2 for T = 1", "T = 2", _BASE, _UNKNOWN),
    Question("T = 4 for T = 1", "T = 4", _BASE, _UNKNOWN),
    Question("LIF for ReLU, T = 1", _BASE, "ann twin", _UNKNOWN),
)
STUDY = Study(
    rows=tuple(ROWS),
    questions=QUESTIONS,
    column="top1",
    caption="validation top-1",
    further={"parameters": "parameters", "firing_rate": "firing rate"},
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, "pretraining", ROWS)
    parser.add_argument("--format", default="tar", help="of the data, as in a configuration file")
    parser.add_argument("--data", default="cifar10-train.tar", help="its path")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=32, help="channels of the tokens")
    parser.add_argument("--epochs", type=int, default=8, help="pre-training included; even")
    parser.add_argument("--batches", type=int, default=96, help="of an epoch")
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args(arguments)
    if options.epochs % 2:
        parser.error(f"--epochs is {options.epochs}, half of which pre-train; pass an even number")
    results = options.output / "results.csv"
    if not options.table:
        if options.data and not Path(options.data).exists():
            print(f"nothing is run: there is no {options.data}; pass --data PATH")
        else:
            STUDY.run(
                results,
                options.only or STUDY.rows,
                options.seeds,
                settings(options),
                lambda name, seed: run(name, seed, options),
            )
    print(STUDY.table(read(results)))


def settings(options: argparse.Namespace) -> str:
    """What two runs must share to be compared."""
    names = ("format", "image_size", "width", "epochs", "batches", "batch_size")
    images = options.epochs * options.batches * options.batch_size
    return " ".join([f"images={images}", *(f"{name}={getattr(options, name)}" for name in names)])


def run(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    for config in configurations(name, seed, options):
        result = train(config).last
    assert isinstance(result, Evaluation)
    return {
        "parameters": _parameters(name, options.width),
        "top1": result.top1,
        "loss": result.loss,
        "firing_rate": result.firing_rate,
        "images": result.images,
        "seconds": round(time.monotonic() - began),
    }


def configurations(name: str, seed: int, options: argparse.Namespace) -> list[TrainConfig]:
    """The runs of a row, one after another."""
    row = ROWS[name]
    folder = str(options.output / "runs" / f"{name.replace(' ', '_').replace(',', '')}_{seed}")
    values: dict[str, Any] = {
        "model": {
            "name": "spikformer_v2_nano",
            "neuron": row.neuron,
            "steps": row.steps,
            "arguments": {"width": options.width, "depth": 2, **row.arguments},
        },
        "output": folder,
        "data": {
            "format": options.format,
            "path": options.data or "",
            "image_size": options.image_size,
            "channels": options.channels,
            "validation_fraction": 0.1,
            "in_memory": True,
            "random_crop_padding": options.image_size // 8,
            "horizontal_flip": True,
        },
        "optimizer": {"lr": 2e-3},
        "schedule": {"warmup_epochs": 0.5},
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "limit_batches": options.batches,
        "label_smoothing": 0.05,
        "validate_every": options.epochs,
        "device": "cpu",
        "seed": seed,
        "resume": True,
    }
    if not row.pretrained:
        return [from_mapping(TrainConfig, values)]
    half = options.epochs // 2
    values |= {"epochs": half, "validate_every": half}
    before = values | {
        "task": "masked_image",
        "output": f"{folder}_start",
        "label_smoothing": 0.0,
        "optimizer": {"lr": 2e-3, "betas": [0.9, 0.95]},
    }
    after = values | {"model": values["model"] | {"weights": f"{folder}_start"}}
    return [from_mapping(TrainConfig, part) for part in (before, after)]


def _parameters(name: str, width: int) -> int:
    sizes = {"width": width, "depth": 2, **ROWS[name].arguments}
    model = ss.create_model("spikformer_v2_nano", num_classes=10, **sizes)
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    main()
