"""Few labels, many photos: what masked-image pre-training brings a small Spikformer V2.

    python benchmarks/few_labels.py patches --data cifar10-train.tar
    python benchmarks/few_labels.py settings --data cifar10-train.tar --output few_labels
    python benchmarks/few_labels.py rows --data cifar10-train.tar --output few_labels --seeds 0 1 2
    python benchmarks/few_labels.py rows --output few_labels --table

A tenth of CIFAR-10's training photos validates. `patches` says how much of the photos lies in the
means of patches, which the usual target leaves out. `settings` pre-trains for a few minutes under
one setting after another and asks a linear probe with a tenth of the labels after every epoch.
`rows` pre-trains each kind of neuron once on all photos without labels, trains and fine-tunes
classifiers with 1 % and 10 % of the labels, and compares them seed by seed; a seed chooses the
labelled photos too. What is in the files of the output is not measured again, and a run that was
interrupted goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from paired import Question, Results, Study, parser_of, read, write
from spikesight.data import DataConfig, build_loaders
from spikesight.losses.reconstruction import to_patches
from spikesight.processor import processor_name
from spikesight.training import Evaluation, TrainConfig, from_mapping, train
from spikesight.training.tasks.masked_image.evaluation import MaskedImageFigures

NEURONS: dict[str, dict[str, Any]] = {
    "spiking": {"neuron": "i_lif", "levels": 4},
    "LIF": {"neuron": "lif"},
    "twin": {"neuron": "relu"},
}
BATCH = 128
_LAYER_DECAY = 0.75
_ADAMW: dict[str, Any] = {"lr": 2e-3, "betas": [0.9, 0.95]}
_MUON: dict[str, Any] = {"name": "muon", "lr": 1e-2, "betas": [0.95, 0.999]}
CLASSIFIER_OPTIMIZERS: dict[str, dict[str, Any]] = {"adamw": {"lr": 2e-3}, "muon": _MUON}

Fields = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """A way to pre-train.

    Attributes:
        masked_image: Fields of that section.
        neuron: Key of NEURONS.
        data: Further fields of the data.
        optimizer: Fields of that section.
        updates: Share of the updates of an epoch that are made.
    """

    masked_image: Fields
    neuron: str = "spiking"
    data: Fields = field(default_factory=dict)
    optimizer: Fields = field(default_factory=lambda: _ADAMW)
    updates: float = 1.0


_OLD: Fields = {}
_SPARSE: Fields = {"patch": 8, "ratio": 0.5, "depth": 1}
_BLANK = _SPARSE | {"hiding": "blank"}
SETTINGS: dict[str, Setting] = {
    "untrained": Setting(_BLANK, optimizer={"lr": 1e-9}, updates=0.01),
    "as it was: 4 px, 75 %, sparse": Setting(_OLD),
    "8 px, 50 %, sparse": Setting(_SPARSE),
    "8 px, 50 %, blank": Setting(_BLANK),
    "4 px, 75 %, sparse, colours": Setting(_OLD | {"target": "colours"}),
    "blank, colours": Setting(_BLANK | {"target": "colours"}),
    "blank, gradients": Setting(_BLANK | {"target": "gradients"}),
    "blank, 4 px": Setting(_BLANK | {"patch": 4}),
    "blank, 75 %": Setting(_BLANK | {"ratio": 0.75}),
    "blank, gradients, crops": Setting(
        _BLANK | {"target": "gradients"}, data={"random_resized_crop": 0.3}
    ),
    "blank, gradients, lr 5e-3": Setting(
        _BLANK | {"target": "gradients"}, optimizer=_ADAMW | {"lr": 5e-3}
    ),
    "8 px, 50 %, blank, muon": Setting(_BLANK, optimizer=_MUON),
    "blank, gradients, LIF": Setting(_BLANK | {"target": "gradients"}, "LIF"),
    "blank, gradients, twin": Setting(_BLANK | {"target": "gradients"}, "twin"),
}


@dataclass(frozen=True)
class Labels:
    """How much of the labels is read, and for how long.

    Attributes:
        fraction: Share of the training images.
        epochs: Passes over them.
        of_all: As many passes as show as many images as pre-training and `epochs` together.
    """

    fraction: float
    epochs: int
    of_all: int


# Of 45,000 photos: 540,000 for pre-training, then 90,000 and 180,000 with labels.
LABELS = {"1 %": Labels(0.01, 200, 1400), "10 %": Labels(0.1, 40, 160)}
SCRATCH, LONG, PRETRAINED = "scratch", "scratch, as many images", "pre-trained"
DECAYED = "pre-trained, layer decay"
KINDS = (SCRATCH, PRETRAINED, DECAYED, LONG)


@dataclass(frozen=True)
class Row:
    """A classifier.

    Attributes:
        labels: Key of LABELS.
        neuron: Key of NEURONS.
        kind: One of KINDS.
    """

    labels: str
    neuron: str
    kind: str


ROWS = {
    f"{labels}, {neuron}, {kind}": Row(labels, neuron, kind)
    for kind in KINDS
    for labels in LABELS
    for neuron in ("spiking", "twin")
}
_PAPER = "no figure known to us"
QUESTIONS = tuple(
    Question(
        f"pre-training, {neuron}, {labels} of the labels"
        + (", equal total images" if reference == LONG else ""),
        f"{labels}, {neuron}, {PRETRAINED}",
        f"{labels}, {neuron}, {reference}",
        _PAPER,
    )
    for reference in (SCRATCH, LONG)
    for labels in LABELS
    for neuron in ("spiking", "twin")
) + tuple(
    Question(
        f"layer decay {_LAYER_DECAY} in fine-tuning, {neuron}, {labels} of the labels",
        f"{labels}, {neuron}, {DECAYED}",
        f"{labels}, {neuron}, {PRETRAINED}",
        _PAPER,
    )
    for labels in LABELS
    for neuron in ("spiking", "twin")
)
STUDY = Study(
    rows=tuple(ROWS),
    questions=QUESTIONS,
    column="top1",
    caption="validation top-1",
    further={"best": "best epoch's", "firing_rate": "firing rate"},
)


def base(options: argparse.Namespace, folder: Path, neuron: str, seed: int) -> Fields:
    """What all runs share."""
    return {
        "model": {
            "name": "spikformer_v2_nano",
            **NEURONS[neuron],
            "arguments": {"width": options.width, "depth": 2},
        },
        "output": str(folder),
        "data": {
            "format": options.format,
            "path": options.data or "",
            "image_size": options.image_size,
            "channels": options.channels,
            "validation_fraction": 0.1,
            "in_memory": True,
            "workers": 0,
            "mean": [0.4914, 0.4822, 0.4465][: options.channels],
            "std": [0.247, 0.2435, 0.2616][: options.channels],
            "random_crop_padding": options.image_size // 8,
            "horizontal_flip": True,
        },
        "schedule": {"warmup_epochs": 1},
        "batch_size": BATCH,
        "device": "cpu",
        "seed": seed,
        "resume": True,
    }


def pretraining(
    options: argparse.Namespace, folder: Path, setting: Setting, epochs: int, batches: int | None
) -> TrainConfig:
    """The run of a setting."""
    values = base(options, folder, setting.neuron, 0)
    values["data"] |= {"label_fraction": 0.1, **setting.data}
    values |= {
        "task": "masked_image",
        "masked_image": setting.masked_image,
        "linear_probe": True,
        "optimizer": setting.optimizer,
        "epochs": epochs,
        "limit_batches": batches,
    }
    return from_mapping(TrainConfig, values)


def in_path(name: str) -> str:
    """A name as that of a folder."""
    return "_".join("".join(letter for letter in name if letter not in ",:%").split())


def measure_settings(options: argparse.Namespace) -> None:
    """Probes of what is not in settings.csv yet."""
    results = options.output / "settings.csv"
    for name in options.only or SETTINGS:
        if name in {line["setting"] for line in read(results)}:
            continue
        setting = SETTINGS[name]
        folder = options.output / "settings" / in_path(name)
        batches = max(1, round(setting.updates * options.batches))
        began = time.process_time()
        epochs = options.epochs if setting.updates == 1 else 1
        last = train(pretraining(options, folder, setting, epochs, batches)).last
        assert isinstance(last, MaskedImageFigures)
        probes = [f"{float(row['val_probe']):.1f}" for row in read(folder / "metrics.csv")]
        found = {
            "setting": name,
            "images": epochs * batches * BATCH,
            "core_seconds": round(time.process_time() - began),
            "loss": last.loss,
            "firing_rate": last.firing_rate,
            "probes": " ".join(probes),
            "processor": processor_name(),
        }
        write(results, found)
        print(found, flush=True)


def pretrained(options: argparse.Namespace, neuron: str) -> Path:
    """The folder of the pre-trained trunk of a kind of neuron, trained where it is missing."""
    folder: Path = options.output / "runs" / f"{neuron}_{in_path(options.setting)}"
    setting = replace(SETTINGS[options.setting], neuron=neuron)
    train(pretraining(options, folder, setting, options.pretraining_epochs, options.limit))
    return folder


def classifier(options: argparse.Namespace, name: str, seed: int) -> TrainConfig:
    """The run of a row."""
    row, labels = ROWS[name], LABELS[ROWS[name].labels]
    started = row.kind in (PRETRAINED, DECAYED)
    kind = f"{options.setting} {row.kind}" if started else row.kind
    folder = (
        options.output
        / "runs"
        / in_path(f"{row.labels} {row.neuron} {kind} {options.optimizer} {seed}")
    )
    values = base(options, folder, row.neuron, seed)
    values["data"] |= {
        "label_fraction": labels.fraction,
        "label_seed": seed,
        "random_erasing": 0.25,
    }
    whole = labels.of_all if row.kind == LONG else labels.epochs
    epochs = max(1, round(options.length * whole))
    values |= {
        "optimizer": dict(CLASSIFIER_OPTIMIZERS[options.optimizer]),
        "schedule": {"warmup_epochs": epochs / 20},
        "epochs": epochs,
        "batch_size": 64,
        "limit_batches": options.limit,
        "label_smoothing": 0.1,
        "validate_every": max(1, epochs // 10),
    }
    if started:
        values["model"]["weights"] = str(pretrained(options, row.neuron))
    if row.kind == DECAYED:
        values["optimizer"]["layer_decay"] = _LAYER_DECAY
    return from_mapping(TrainConfig, values)


def measure_row(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """The figures of a row's run."""
    config = classifier(options, name, seed)
    began = time.process_time()
    result = train(config)
    assert isinstance(result.last, Evaluation)
    assert isinstance(result.best, Evaluation)
    return {
        "top1": result.last.top1,
        "best": result.best.top1,
        "loss": result.last.loss,
        "firing_rate": result.last.firing_rate,
        "core_seconds": round(time.process_time() - began),
    }


def share_of_means(options: argparse.Namespace) -> str:
    """How much of the photos' variance is that of the means of patches, as Markdown."""
    fields = base(options, options.output, "spiking", 0)["data"]
    loaders = build_loaders(from_mapping(DataConfig, fields), BATCH, seed=0)
    shown = [loaders.batch_transform_eval(images) for images, _ in islice(loaders.train, 40)]
    lines = ["| patch | share of the photos' variance in its mean |", "|---|---|"]
    for side in (4, 8, 16):
        patches = to_patches(torch.cat(shown), side)
        share = patches.mean(-1).var(correction=0) / patches.var(correction=0)
        lines.append(f"| {side} px | {100 * float(share):.0f} % |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, "few_labels", [*SETTINGS, *ROWS])
    parser.add_argument("part", choices=("patches", "settings", "rows"))
    parser.add_argument("--format", default="tar", help="of the data, as in a configuration file")
    parser.add_argument("--data", default="cifar10-train.tar", help="its path")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=32, help="channels of the tokens")
    parser.add_argument("--epochs", type=int, default=3, help="of a setting")
    parser.add_argument("--batches", type=int, default=100, help="of an epoch of a setting")
    parser.add_argument("--pretraining-epochs", type=int, default=12, help="of rows")
    parser.add_argument(
        "--setting",
        choices=list(SETTINGS),
        default="8 px, 50 %, blank, muon",
        help="of rows' pre-training",
    )
    parser.add_argument(
        "--optimizer", choices=list(CLASSIFIER_OPTIMIZERS), default="muon", help="of classifiers"
    )
    parser.add_argument("--length", type=float, default=1.0, help="factor on classifiers' epochs")
    parser.add_argument("--limit", type=int, help="batches of an epoch of rows, for trials")
    options = parser.parse_args(arguments)
    if not options.table and options.data and not Path(options.data).exists():
        print(f"nothing is run: there is no {options.data}; pass --data PATH")
        return
    if options.part == "patches":
        print(share_of_means(options))
        return
    if options.part == "settings":
        if not options.table:
            measure_settings(options)
        print(settings_table(read(options.output / "settings.csv")))
        return
    results = options.output / "results.csv"
    if not options.table:
        names = (
            "setting",
            "optimizer",
            "image_size",
            "width",
            "pretraining_epochs",
            "length",
            "limit",
        )
        STUDY.run(
            results,
            options.only or STUDY.rows,
            options.seeds,
            " ".join(f"{name}={getattr(options, name)}" for name in names),
            lambda name, seed: measure_row(options, name, seed),
        )
    print(STUDY.table(read(results)))


def settings_table(lines: Results) -> str:
    """What was measured of settings, as Markdown."""
    shown = [
        "| setting | images | core seconds | loss | firing rate | linear probe after each epoch |",
        "|---" * 6 + "|",
    ]
    for line in lines:
        rate = f"{float(line['firing_rate']):.3f}" if line["firing_rate"] else ""
        cells = [line["setting"], f"{int(line['images']):,}", line["core_seconds"]]
        cells += [f"{float(line['loss']):.3f}", rate, line["probes"].replace(" ", ", ")]
        shown.append(f"| {' | '.join(cells)} |")
    return "\n".join(shown)


if __name__ == "__main__":
    main()
