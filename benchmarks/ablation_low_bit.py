"""What each part of a low-bit network does to its accuracy, on small models with paired seeds.

    python benchmarks/ablation_low_bit.py --output ablation --seeds 0 1 2
    python benchmarks/ablation_low_bit.py --output ablation --table

Every row is a training from scratch, with the same recipe, seeds and images. A run that is in
results.csv of the output is not repeated, one that was interrupted goes on; so the command can be
stopped and given again, with more seeds or rows. QSD-Transformer's signs (tables 5 and 6, on
ImageNet) stand beside ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import spikesight as ss
from paired import Question, Study, parser_of, read
from spikesight.graph import Synapse
from spikesight.passes.quantization import packed_bytes
from spikesight.training import Evaluation, TrainConfig, from_mapping, train

_TWIN = "ann twin"


@dataclass(frozen=True)
class Row:
    """One form of the network.

    Attributes:
        model: Fields of the model's configuration.
        taught: Whether the ANN twin teaches it (FGD, QSD eqs. 13-14).
    """

    model: dict[str, Any] = field(default_factory=dict)
    taught: bool = False


_LIF = {"neuron": "lif", "levels": None, "steps": 4}
_MPRF = {"arguments": {"mprf": True}}
_LOW: dict[str, Any] = {"bits": 4}
ROWS: dict[str, Row] = {
    _TWIN: Row({"neuron": "relu", "levels": None}),
    "fp32, LIF": Row(_LIF),
    "fp32": Row(),
    "4 bits, LIF": Row(_LIF | _LOW),
    "4 bits, IE-LIF": Row(_LOW),
    "4 bits, IE-LIF, MPRF": Row(_LOW | _MPRF),
    "4 bits, IE-LIF, MPRF, FGD": Row(_LOW | _MPRF, taught=True),
    "3 bits, IE-LIF, MPRF, FGD": Row(_MPRF | {"bits": 3}, taught=True),
    "2 bits, IE-LIF, MPRF, FGD": Row(_MPRF | {"bits": 2}, taught=True),
    "D = 1, T = 1": Row(_LOW | _MPRF | {"levels": 1}),
    "D = 1, T = 2": Row(_LOW | _MPRF | {"levels": 1, "steps": 2}),
    "D = 1, T = 4": Row(_LOW | _MPRF | {"levels": 1, "steps": 4}),
    "D = 2, T = 1": Row(_LOW | _MPRF | {"levels": 2}),
    "D = 2, T = 2": Row(_LOW | _MPRF | {"levels": 2, "steps": 2}),
    "4 bits, powers of two": Row(_LOW | _MPRF | {"power_of_two": True}),
    "fp32, neurons in RepConv": Row({"arguments": {"rep_conv": "spike_driven"}}),
    "4 bits, neurons in RepConv": Row(
        _LOW | {"arguments": {"rep_conv": "spike_driven", "mprf": True}}
    ),
}


_FULL, _PLAIN, _D4 = "4 bits, IE-LIF, MPRF, FGD", "4 bits, IE-LIF", "4 bits, IE-LIF, MPRF"
_NONE = "not reported"
QUESTIONS = (
    Question("4 bits, binary LIF, T = 4", "4 bits, LIF", "fp32, LIF", "−6.1 (Spikformer-8-384)"),
    Question("4 bits, IE-LIF", _PLAIN, "fp32", _NONE),
    Question("IE-LIF for binary LIF at T = 4", _PLAIN, "4 bits, LIF", "+5.8 (with MPRF)"),
    Question("MPRF", _D4, _PLAIN, "part of the +5.8"),
    Question("FGD", _FULL, _D4, "+1.7"),
    Question("3 bits for 4", "3 bits, IE-LIF, MPRF, FGD", _FULL, "− (no figure in the text)"),
    Question("2 bits for 4", "2 bits, IE-LIF, MPRF, FGD", _FULL, "−2.5"),
    Question("D × T: 1 × 2 for 1 × 1", "D = 1, T = 2", "D = 1, T = 1", "+0.9"),
    Question("D × T: 1 × 4 for 1 × 1", "D = 1, T = 4", "D = 1, T = 1", "+2.4"),
    Question("D × T: 2 × 1 for 1 × 1", "D = 2, T = 1", "D = 1, T = 1", "+4.0"),
    Question("D × T: 2 × 2 for 2 × 1", "D = 2, T = 2", "D = 2, T = 1", "+5.8"),
    Question("D × T: 4 × 1 for 1 × 1", _D4, "D = 1, T = 1", "+9.9"),
    Question("every step a power of two", "4 bits, powers of two", _D4, _NONE),
    Question("neurons in RepConv, fp32", "fp32, neurons in RepConv", "fp32", _NONE),
    Question("neurons in RepConv, 4 bits", "4 bits, neurons in RepConv", _D4, _NONE),
    Question("IE-LIF for ReLU, fp32", "fp32", _TWIN, _NONE),
)
STUDY = Study(tuple(ROWS), QUESTIONS, "top1", "validation top-1")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, "ablation", ROWS)
    parser.add_argument("--format", default="idx", help="of the data, as in a configuration file")
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist", help="its path")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--model", default="metaspikformer_nano")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=100, help="of an epoch; 0 for all")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--fgd-weight", type=float, default=0.1)
    options = parser.parse_args(arguments)
    results = options.output / "results.csv"
    if not options.table:
        run_all(options, results)
    print(STUDY.table(read(results)))
    print(f"\n{forms()}")


def run_all(options: argparse.Namespace, results: Path) -> None:
    rows = list(options.only or ROWS)
    if any(ROWS[row].taught for row in rows):
        rows = [_TWIN, *(row for row in rows if row != _TWIN)]
    STUDY.run(
        results, rows, options.seeds, settings(options), lambda row, seed: run(row, seed, options)
    )


def settings(options: argparse.Namespace) -> str:
    """What two runs must share to be compared."""
    names = ("model", "format", "image_size", "epochs", "batches", "batch_size", "fgd_weight")
    return " ".join(f"{name}={getattr(options, name)}" for name in names)


def run(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    result = train(configuration(name, seed, options)).last
    assert isinstance(result, Evaluation)
    return {
        "top1": result.top1,
        "loss": result.loss,
        "firing_rate": result.firing_rate,
        "images": result.images,
        "seconds": round(time.monotonic() - began),
    }


def configuration(name: str, seed: int, options: argparse.Namespace) -> TrainConfig:
    def folder(row: str) -> str:
        return str(options.output / "runs" / f"{row.replace(' ', '_').replace(',', '')}_{seed}")

    row = ROWS[name]
    values: dict[str, Any] = {
        "model": {"name": options.model, "neuron": "ie_lif", "levels": 4, **row.model},
        "output": folder(name),
        "data": {
            "format": options.format,
            "path": options.data,
            "image_size": options.image_size,
            "channels": options.channels,
            "validation_fraction": 0.05,
            "random_crop_padding": 1,
            "horizontal_flip": True,
        },
        "optimizer": {"lr": 2e-3},
        "schedule": {"warmup_epochs": 0.5},
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "limit_batches": options.batches or None,
        "label_smoothing": 0.05,
        "validate_every": options.epochs,
        "device": "cpu",
        "seed": seed,
        "resume": True,
    }
    if row.taught:
        values["distillation"] = {
            "teacher": folder(_TWIN),
            "attention": True,
            "attention_weight": options.fgd_weight,
        }
    return from_mapping(TrainConfig, values)


def forms() -> str:
    """What neurons inside RepConv save, as Markdown: operations at 32 px, bytes at 4 bits."""
    lines = [
        "| model | RepConv | weights, folded | operations, dense | bytes, packed at 4 bits |",
        "|---|---|---|---|---|",
    ]
    for name in ("metaspikformer_nano", "metaspikformer_tiny"):
        for form in ("official", "spike_driven"):
            model = ss.create_model(name, num_classes=10, rep_conv=form).eval()
            layers = ss.energy(model, torch.rand(1, 3, 32, 32)).layers
            operations = sum(layer.macs for layer in layers)
            graph = ss.fold(ss.trace(model))
            weights = sum(
                factor.weight.numel()
                for node in graph.nodes
                if isinstance(node, Synapse)
                for factor in node.factors
            )
            packed = packed_bytes(model, 4)
            lines.append(f"| {name} | {form} | {weights:,} | {operations:,.0f} | {packed:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
