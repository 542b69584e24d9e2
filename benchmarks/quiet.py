"""Accuracy and time of networks that were trained to few nonzero counts.

    python benchmarks/quiet.py --data cifar10-train.tar weights/cifar10_tiny weights/cifar10_quiet
    python benchmarks/quiet.py --results runs/quiet.csv --plot docs/quiet.svg   # draws it again

Each run is deployed. Its integer network then answers all validation photos, and some of them one
at a time in every exact form that this machine has, all networks and forms taking turns; medians of
CPU time, which other programs on the machine disturb least. Nonzero counts are those of `spikesight
energy`, each weighted by the multiply-accumulates that read it. Without photos (--data) nothing is
measured.

The first run is the unregularised one. At T = 1 its counts are activations of ceil(log2(D + 1))
bits, so in a dense int8 runtime it is the equal-bits ANN: the time of that form does not depend on
how many counts are zero, whichever network it runs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from math import ceil, log2
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import spikesight as ss
from spikesight.deployment.export.exact_forms import exact_forms
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.errors import MissingPackageError
from spikesight.processor import processor_name
from spikesight.reports.text_table import text_table
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import resolve_model_folder
from spikesight.training.tasks.classification.evaluation import compare_accuracies
from spikesight.training.tasks.validation import calibration_inputs

CALIBRATING = 256
_FIRST = 100
DENSE, NATIVE, DENSE_NATIVE = "OpenVINO", "libspk", "dense libspk"
SHIPPED = (Path("weights/cifar10_tiny"), Path("weights/cifar10_quiet"))


@dataclass(frozen=True)
class Row:
    """One network in one form.

    Attributes:
        run: Folder of the run.
        form: What ran it.
        top1: Of the integer network, in percent.
        photos: Photos that top-1 is of.
        nonzero: Share of nonzero counts by MAC.
        firing_rate: Mean of the layers' firing rates.
        levels: D.
        milliseconds: Median CPU time for one photo.
        threads: Threads of a call.
        processor: What it was measured on.
    """

    run: str
    form: str
    top1: float
    photos: int
    nonzero: float
    firing_rate: float
    levels: int
    milliseconds: float
    threads: int
    processor: str


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="*", default=SHIPPED)
    parser.add_argument("--data", type=Path, help="cifar10-train.tar, of which a tenth validates")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weight-bits", type=int, default=8)
    parser.add_argument("--timed", type=int, default=200, help="photos that are timed")
    parser.add_argument("--limit", type=int, help="batches of photos, for a quick look")
    parser.add_argument("--results", type=Path, default=Path("runs/quiet.csv"))
    parser.add_argument("--plot", type=Path, help="picture to draw of all results")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.data is not None:
        _write(options.results, measure(options))
    if not options.results.is_file():
        print("no photos, so nothing is measured; pass --data cifar10-train.tar")
        return
    rows = _read(options.results)
    print(table(rows))
    if options.plot is not None:
        draw(rows, options.plot)


def measure(options: argparse.Namespace) -> list[Row]:
    """Deploys every run, and measures accuracy, counts and time."""
    networks = {str(run): Network(run, options) for run in options.runs}
    calls = {
        (name, form): call for name, net in networks.items() for form, call in net.forms.items()
    }
    photos = next(iter(networks.values())).images[: options.timed]
    milliseconds = _time(calls, photos)
    return [
        Row(
            run=name,
            form=form,
            top1=net.top1,
            photos=net.photos,
            nonzero=net.nonzero,
            firing_rate=net.firing_rate,
            levels=max(neuron.levels for neuron in net.deployed.graph.neurons),
            milliseconds=milliseconds[name, form],
            threads=options.threads,
            processor=processor_name(),
        )
        for name, net in networks.items()
        for form in net.forms
    ]


class Network:
    """A deployed run, its forms and what is known of it."""

    def __init__(self, run: Path, options: argparse.Namespace) -> None:
        folder = resolve_model_folder(run)
        place = {"path": str(options.data)}
        self.images, _ = calibration_inputs(folder, place, CALIBRATING, "validation", None)
        images = self.images
        model, bits = ss.load(folder), options.weight_bits
        self.deployed = ss.deploy(model, images, None, images.split(64), bits)
        compared = self.deployed.verify(images[:4])
        assert compared.equal, compared.table()
        self.forms = forms(self.deployed, images[:1], options.threads)
        report = ss.energy(self.deployed, images)
        assert report.nonzero_by_mac is not None
        self.nonzero = report.nonzero_by_mac
        self.firing_rate = statistics.fmean(report.firing_rates.values())
        card = Card.read(folder).with_data(place)
        batches = card.kind.evaluation_batches(card, 1, "validation")
        shown = islice(batches, options.limit)
        answer = {"integers": next(iter(self.forms.values()))}
        transform = card.preprocessing.batch_transform
        self.photos, accuracies = compare_accuracies(answer, shown, transform)
        self.top1 = accuracies["integers"]
        print(f"{run}: top-1 {self.top1:.2f} %, nonzero {self.nonzero:.3f}", flush=True)


def forms(net: ss.Deployed, x: Tensor, threads: int) -> dict[str, Callable[[Tensor], Any]]:
    """The dense runtime, and libspk as it chooses and forced to be dense, all compared first."""
    found: dict[str, Callable[[Tensor], Any]] = {
        name: form
        for name, form in exact_forms(net, x, threads, simulate=False).items()
        if DENSE in name
    }
    try:
        native = NativeRuntime(net.graph, threads)
    except MissingPackageError as error:
        print(error)
        return found
    assert torch.equal(native(x), net(x))
    always_dense = NativeRuntime(net.graph, threads, form="dense", prove=False)
    return found | {
        f"{NATIVE} ({native.form})": native,
        f"{DENSE_NATIVE} ({native.form})": always_dense,
    }


def _time(calls: Mapping[Any, Callable[[Tensor], object]], photos: Tensor) -> dict[Any, float]:
    """Median CPU milliseconds for one photo of every call; they take turns photo by photo."""
    times: dict[Any, list[float]] = {key: [] for key in calls}
    for call in calls.values():
        for photo in photos[:_FIRST].split(1):  # libspk learns here which form pays
            call(photo)
    for photo in photos.split(1):
        for key, call in calls.items():
            began = time.process_time()
            call(photo)
            times[key].append(1e3 * (time.process_time() - began))
    return {key: statistics.median(values) for key, values in times.items()}


def _write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _read(path: Path) -> list[Row]:
    kinds: dict[str, Any] = {"str": str, "float": float, "int": int}
    with path.open(newline="") as file:
        return [
            Row(**{field.name: kinds[str(field.type)](line[field.name]) for field in fields(Row)})
            for line in csv.DictReader(file)
        ]


def table(rows: list[Row]) -> str:
    """All rows as text."""
    first = rows[0]
    header = ("run", "top-1 %", "nonzero by MAC", "firing rate", "form", "CPU ms")
    lines = [
        (
            row.run,
            f"{row.top1:.2f}",
            f"{row.nonzero:.3f}",
            f"{row.firing_rate:.3f}",
            row.form,
            f"{row.milliseconds:.2f}",
        )
        for row in rows
    ]
    return (
        text_table(header, lines)
        + f"\n{first.photos:,} validation photos; one photo, {first.threads} thread(s) of "
        + first.processor
    )


def draw(rows: list[Row], path: Path) -> None:
    """Accuracy over time of every network and form, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    ink, faint, spike, twin = "#1d2126", "#616973", "#d55e00", "#0072b2"
    dense = [row for row in rows if DENSE in row.form]
    native = sorted(
        (row for row in rows if row.form.startswith(NATIVE)), key=lambda row: row.nonzero
    )
    native_dense = [row for row in rows if row.form.startswith(DENSE_NATIVE)]
    if native:
        axes.plot(
            [row.milliseconds for row in native],
            [row.top1 for row in native],
            *("o-",),
            color=spike,
            label="libspk, which skips zeros where that pays",
        )
    axes.plot(
        [row.milliseconds for row in dense[1:]],
        [row.top1 for row in dense[1:]],
        *("o",),
        color=twin,
        markerfacecolor="none",
        label="the same in OpenVINO (dense int8)",
    )
    if native_dense:
        axes.plot(
            [row.milliseconds for row in native_dense],
            [row.top1 for row in native_dense],
            *("o",),
            color=spike,
            markerfacecolor="none",
            label="the same, forced to be dense",
        )
    base = dense[0]
    bits = ceil(log2(base.levels + 1))
    axes.axvline(statistics.median(row.milliseconds for row in dense), color=twin, lw=0.8, ls=":")
    axes.plot(
        *([base.milliseconds], [base.top1], "s"),
        color=twin,
        markersize=8,
        label=f"equal-bits ANN: {bits}-bit activations, OpenVINO (dense int8)",
    )
    for row in native or dense:
        axes.annotate(
            f"{100 * row.nonzero:.0f} % nonzero",
            (row.milliseconds, row.top1),
            xytext=(-6, -13),
            ha="right",
            textcoords="offset points",
            fontsize=8,
            color=faint,
        )
    axes.margins(y=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"CPU time for one photo in ms, {base.threads} thread(s)", color=ink)
    axes.set_ylabel(f"top-1 in %, {base.photos:,} validation photos", color=ink)
    axes.set_title(
        f"CIFAR-10, D = {base.levels}, T = 1: accuracy over time by nonzero counts",
        fontsize=11,
        color=ink,
    )
    axes.grid(color="#e4e1db", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    figure.text(0.995, 0.005, base.processor, ha="right", fontsize=6, color=faint)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
