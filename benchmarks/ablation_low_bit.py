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
import csv
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import spikesight as ss
from spikesight.graph import Synapse
from spikesight.passes.quantization import packed_bytes
from spikesight.training import Evaluation, TrainConfig, from_mapping, train

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
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


@dataclass(frozen=True)
class Question:
    """What changes from one row to another.

    Attributes:
        text: The change.
        row: With it.
        reference: Without it.
        paper: Points of accuracy that the paper reports for it.
    """

    text: str
    row: str
    reference: str
    paper: str


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
_COLUMNS = ("row", "seed", "settings", "top1", "loss", "firing_rate", "images", "seconds", "date")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("ablation"))
    parser.add_argument("--format", default="idx", help="of the data, as in a configuration file")
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist", help="its path")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--model", default="metaspikformer_nano")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=100, help="of an epoch; 0 for all")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--fgd-weight", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help="these rows alone")
    parser.add_argument("--table", action="store_true", help="show what is measured; run nothing")
    options = parser.parse_args(arguments)
    results = options.output / "results.csv"
    if not options.table:
        run_all(options, results)
    print(table(read(results)))
    print(f"\n{forms()}")


def run_all(options: argparse.Namespace, results: Path) -> None:
    rows = list(options.only or ROWS)
    if any(ROWS[row].taught for row in rows):
        rows = [_TWIN, *(row for row in rows if row != _TWIN)]
    for seed in options.seeds:
        for row in rows:
            done = {(r["row"], r["seed"], r["settings"]) for r in read(results)}
            if (row, str(seed), settings(options)) not in done:
                write(results, run(row, seed, options))


def settings(options: argparse.Namespace) -> str:
    """What two runs must share to be compared."""
    names = ("model", "format", "image_size", "epochs", "batches", "batch_size", "fgd_weight")
    return " ".join(f"{name}={getattr(options, name)}" for name in names)


def run(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    result = train(configuration(name, seed, options)).last
    assert isinstance(result, Evaluation)
    return {
        "row": name,
        "seed": seed,
        "settings": settings(options),
        "top1": result.top1,
        "loss": result.loss,
        "firing_rate": result.firing_rate,
        "images": result.images,
        "seconds": round(time.monotonic() - began),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
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
            "path": options.data or None,
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


def read(results: Path) -> list[dict[str, str]]:
    if not results.is_file():
        return []
    with results.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(results: Path, values: dict[str, Any]) -> None:
    results.parent.mkdir(parents=True, exist_ok=True)
    fresh = not results.is_file()
    with results.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(values)


def table(rows: list[dict[str, str]]) -> str:
    """What was measured, as Markdown; runs under different settings are kept apart."""
    parts = []
    for chosen in dict.fromkeys(row["settings"] for row in rows):
        accuracies: dict[str, dict[int, float]] = {name: {} for name in ROWS}
        for row in rows:
            if row["settings"] == chosen and row["row"] in accuracies:
                accuracies[row["row"]][int(row["seed"])] = float(row["top1"])
        parts.append(f"`{chosen}`\n\n{_accuracies(accuracies)}\n\n{_answers(accuracies)}")
    return "\n\n".join(parts)


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


def _accuracies(accuracies: dict[str, dict[int, float]]) -> str:
    lines = ["| row | validation top-1, one value per seed | mean |", "|---|---|---|"]
    for name, by_seed in accuracies.items():
        values = [by_seed[seed] for seed in sorted(by_seed)]
        shown = ", ".join(f"{value:.2f}" for value in values) or "not run"
        lines.append(f"| {name} | {shown} | {f'{mean(values):.2f}' if values else ''} |")
    return "\n".join(lines)


def _answers(accuracies: dict[str, dict[int, float]]) -> str:
    lines = [
        "| change | paper, points | ours, points (95 % interval) | seeds | verdict |",
        "|---|---|---|---|---|",
    ]
    for question in QUESTIONS:
        row, reference = accuracies[question.row], accuracies[question.reference]
        seeds = sorted(row.keys() & reference.keys())
        shown, verdict = answer([row[seed] - reference[seed] for seed in seeds], question.paper)
        lines.append(f"| {question.text} | {question.paper} | {shown} | {len(seeds)} | {verdict} |")
    return "\n".join(lines)


def answer(differences: Sequence[float], paper: str) -> tuple[str, str]:
    """The mean of paired differences with its interval, and what it says.

    Args:
        differences: One per seed, in points.
        paper: What the paper reports.
    """
    if not differences:
        return "not run", "not run"
    middle = mean(differences)
    if len(differences) == 1:
        return f"{middle:+.2f}", "inconclusive (one seed)"
    quantile = _T95[min(len(differences) - 1, len(_T95)) - 1]
    margin = quantile * stdev(differences) / math.sqrt(len(differences))
    shown = f"{middle:+.2f} ± {margin:.2f}"
    if abs(middle) <= margin:
        return shown, "inconclusive"
    sign = "+" if middle > 0 else "−"
    if paper[0] not in "+−":
        return shown, "better" if middle > 0 else "worse"
    return shown, "the paper's sign" if paper[0] == sign else "against the paper"


if __name__ == "__main__":
    main()
