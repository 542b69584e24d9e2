"""Every family of transformers side by side: the smallest of each, beside its ANN twin.

    python benchmarks/families.py --data cifar10-train.tar --output families
    python benchmarks/families.py --output families --table --write docs/families.md

All learn CIFAR-10 by configs/cifar10_nano.yaml, from as many images, with paired seeds. A spiking
network is deployed with 8-bit weights: its integers answer photos one by one in libspk, and
`ss.energy` prices what they do. A run that is in results.csv of the output is not repeated, so the
command can be stopped and given again, with more seeds or families.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

import spikesight as ss
from paired import Results, Study, answer, parser_of, read
from spikesight.costs.forms import EQUAL_BITS, SPIKES
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.processor import processor_name
from spikesight.training import TrainConfig, resolve_model_folder, train
from spikesight.training.config import override
from spikesight.training.tasks.validation import sample_images

FAMILIES = {
    "spikformer_nano": "Spikformer V1",
    "spikformer_v2_nano": "Spikformer V2",
    "sdtv1_nano": "Spike-driven Transformer V1",
    "metaspikformer_nano": "Meta-SpikeFormer (V2)",
    "espikeformer_nano": "E-SpikeFormer (V3)",
    "qkformer_nano": "QKFormer",
    "ms_qkformer_nano": "MS-QKFormer",
    "maxformer_nano": "Max-Former",
    "spikingresformer_nano": "SpikingResformer",
}
TWIN = "its ANN twin"
ROWS = tuple(row for name in FAMILIES for row in (name, f"{name}, {TWIN}"))
STUDY = Study(rows=ROWS, questions=(), column="top1", caption="validation top-1")
INTRODUCTION = """# The families side by side

Each family at its smallest size, trained by one recipe (`configs/cifar10_nano.yaml`) from equally
many CIFAR-10 photos, beside its ANN twin: the same network with ReLUs, same recipe, seeds and
photos. `benchmarks/families.py` trains, deploys and prices them. These are short runs of small
networks, which say how fast a family starts to learn here, and nothing of its authors' figures.

Spiking networks have T = 1 and D = 4. Firing rate: the mean over layers of the trained network.
Energy: of the integers with 8-bit weights, by the papers' convention (additions 0.9 pJ) and as
binary spikes under `movement`, beside the ANN of equal bits there ([energy.md](energy.md)). Time:
one photo in libspk, one thread, median, on a machine that other programs share. A sign is claimed
with five seeds or more whose interval excludes zero.
"""
_RECIPE = Path(__file__).parents[1] / "configs" / "cifar10_nano.yaml"
_DEPLOYED = ("parameters", "integers_ms", "paper_uj", "movement_uj", "movement_equal_bits_uj")
_SHOWN, _TIMED, _WARM = 128, 100, 30


def run(options: argparse.Namespace, row: str, seed: int) -> dict[str, Any]:
    """Trains a row; returns its figures."""
    name, _, twin = row.partition(", ")
    folder = options.output / "run"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.process_time()
    train(configuration(name, bool(twin), seed, options, folder))
    seconds = round(time.process_time() - began)
    with (folder / "metrics.csv").open(newline="") as file:
        (*_, last) = csv.DictReader(file)
    found = {"top1": last["ema_top1"], "firing_rate": last["firing_rate"], "seconds": seconds}
    return found | (dict.fromkeys(_DEPLOYED, "") if twin else deployed(folder))


def configuration(
    name: str, twin: bool, seed: int, options: argparse.Namespace, folder: Path
) -> TrainConfig:
    """The run of a row."""
    data = Path(options.data)
    changes = {
        "model": {"name": name} | ({"neuron": "relu", "levels": None} if twin else {}),
        "output": str(folder),
        "seed": seed,
        "epochs": options.epochs,
        "validate_every": options.epochs,
        "limit_batches": options.images // TrainConfig.load(_RECIPE).batch_size,
        "data": {"path": str(data), "format": "tar" if data.suffix == ".tar" else "cifar10"},
    }
    return override(TrainConfig.load(_RECIPE), changes)


def deployed(folder: Path) -> dict[str, Any]:
    """What a trained spiking network costs as integers."""
    place = resolve_model_folder(folder)
    model, x = ss.load(place), sample_images(place, None, _SHOWN)
    parameters = sum(p.numel() for p in model.parameters())
    net = ss.deploy(model, x, None, x.split(64))
    compared = net.verify(x[:4])
    assert compared.equal, compared.table()
    report = ss.energy(net, x.split(64))
    movement = report.under("movement")
    return {
        "parameters": parameters,
        "integers_ms": round(milliseconds(net, x), 3),
        "paper_uj": round(report.picojoules / 1e6, 3),
        "movement_uj": round(movement.picojoules(SPIKES.key) / 1e6, 3),
        "movement_equal_bits_uj": round(movement.picojoules(EQUAL_BITS.key) / 1e6, 3),
    }


def milliseconds(net: ss.Deployed, x: torch.Tensor) -> float:
    """Median time of one photo in libspk, one thread."""
    runtime = NativeRuntime(net.graph, threads=1)
    photos = x.split(1)
    for photo in photos[:_WARM]:
        runtime(photo)
    times = []
    for photo in photos[:_TIMED]:
        began = time.perf_counter()
        runtime(photo)
        times.append(1e3 * (time.perf_counter() - began))
    return median(times)


def page(results: Results) -> str:
    """The measured families as Markdown; runs under different settings are kept apart."""
    parts = []
    for settings in dict.fromkeys(line["settings"] for line in results):
        chosen = [line for line in results if line["settings"] == settings]
        parts.append(f"`{settings}`\n\n{_table(chosen)}")
    return "\n\n".join(parts) or "Nothing is measured yet."


def _table(results: Results) -> str:
    header = (
        *("family", "parameters", "top-1", "its twin", "difference (95 % interval)", "verdict"),
        *("firing rate", "µJ, papers", "µJ, movement", "equal bits there", "ms in libspk"),
    )
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, title in FAMILIES.items():
        own = {line["seed"]: line for line in results if line["row"] == name}
        twin = {line["seed"]: line for line in results if line["row"] == f"{name}, {TWIN}"}
        if not own:
            lines.append(f"| {title} | not run |{' |' * (len(header) - 2)}")
            continue
        pairs = [float(own[s]["top1"]) - float(twin[s]["top1"]) for s in own if s in twin]
        difference, verdict = answer(pairs, "no figure known to us")
        cells = [
            f"{int(next(iter(own.values()))['parameters']):,}",
            _mean(own.values(), "top1", 2),
            _mean(twin.values(), "top1", 2),
            *(difference, verdict),
            _mean(own.values(), "firing_rate", 3),
            *(_mean(own.values(), f"{key}_uj", 1) for key in ("paper", "movement")),
            _mean(own.values(), "movement_equal_bits_uj", 1),
            _mean(own.values(), "integers_ms", 2),
        ]
        lines.append(f"| {title} (`{name}`) | {' | '.join(cells)} |")
    days = sorted({line["date"] for line in results})
    seeds = len({line["seed"] for line in results})
    span = " to ".join(dict.fromkeys((days[0], days[-1])))
    lines += ["", f"Means of {seeds} seed(s), {processor_name()}, {span}."]
    return "\n".join(lines)


def _mean(lines: Any, column: str, digits: int) -> str:
    values = [float(line[column]) for line in lines if line[column]]
    return f"{fmean(values):,.{digits}f}" if values else ""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, "families", ROWS)
    parser.add_argument("--data", default="cifar10-train.tar", help="as the recipe reads it")
    parser.add_argument("--images", type=int, default=6400, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--write", type=Path, help="Markdown file to write the table to")
    options = parser.parse_args(arguments)
    results = options.output / "results.csv"
    if not options.table:
        settings = f"{options.epochs} epochs of {options.images} images"
        STUDY.run(results, options.only or ROWS, options.seeds, settings, partial(run, options))
    text = page(read(results))
    print(text)
    if options.write is not None:
        options.write.write_text(f"{INTRODUCTION}\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
