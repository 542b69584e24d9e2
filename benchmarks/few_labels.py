"""Few labels, many photos: what masked-image pre-training brings a small Spikformer V2.

    python benchmarks/few_labels.py settings --data cifar10-train.tar --output few_labels
    python benchmarks/few_labels.py rows --data cifar10-train.tar --output few_labels --seeds 0 1 2
    python benchmarks/few_labels.py rows --output few_labels --table

A tenth of CIFAR-10's training photos validates. `settings` pre-trains for a few minutes under one
setting after another and asks a linear probe with a tenth of the labels after every epoch.
`rows` pre-trains each kind of neuron once on all photos without labels, trains and fine-tunes
classifiers with 1 % and 10 % of the labels, and compares them seed by seed; a seed chooses the
labelled photos too. What is in the files of the output is not measured again, and a run that was
interrupted goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paired import parser_of, read, write
from spikesight.processor import processor_name
from spikesight.training import TrainConfig, from_mapping, train
from spikesight.training.tasks.masked_image.evaluation import MaskedImageFigures

NEURONS: dict[str, dict[str, Any]] = {
    "spiking": {"neuron": "i_lif", "levels": 4},
    "LIF": {"neuron": "lif"},
    "twin": {"neuron": "relu"},
}
BATCH = 128

Fields = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """A way to pre-train.

    Attributes:
        masked_image: Fields of that section.
        neuron: Key of NEURONS.
        data: Further fields of the data.
        lr: Peak learning rate.
        updates: Share of the updates of an epoch that are made.
    """

    masked_image: Fields
    neuron: str = "spiking"
    data: Fields = field(default_factory=dict)
    lr: float = 2e-3
    updates: float = 1.0


_OLD: Fields = {}
_SPARSE: Fields = {"patch": 8, "ratio": 0.5, "depth": 1}
_BLANK = _SPARSE | {"hiding": "blank"}
SETTINGS: dict[str, Setting] = {
    "untrained": Setting(_BLANK, lr=1e-9, updates=0.01),
    "as it was: 4 px, 75 %, sparse": Setting(_OLD),
    "8 px, 50 %, sparse": Setting(_SPARSE),
    "8 px, 50 %, blank": Setting(_BLANK),
    "blank, gradients": Setting(_BLANK | {"target": "gradients"}),
    "blank, 4 px": Setting(_BLANK | {"patch": 4}),
    "blank, 75 %": Setting(_BLANK | {"ratio": 0.75}),
    "blank, gradients, crops": Setting(
        _BLANK | {"target": "gradients"}, data={"random_resized_crop": 0.3}
    ),
    "blank, gradients, lr 5e-3": Setting(_BLANK | {"target": "gradients"}, lr=5e-3),
    "blank, gradients, LIF": Setting(_BLANK | {"target": "gradients"}, "LIF"),
    "blank, gradients, twin": Setting(_BLANK | {"target": "gradients"}, "twin"),
}


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
        "optimizer": {"lr": setting.lr, "betas": [0.9, 0.95]},
        "epochs": epochs,
        "limit_batches": batches,
    }
    return from_mapping(TrainConfig, values)


def measure_settings(options: argparse.Namespace) -> None:
    """Probes of what is not in settings.csv yet."""
    results = options.output / "settings.csv"
    for name in options.only or SETTINGS:
        if name in {line["setting"] for line in read(results)}:
            continue
        setting = SETTINGS[name]
        folder = options.output / "settings" / name.replace(" ", "_").replace(",", "")
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, "few_labels", SETTINGS)
    parser.add_argument("part", choices=("settings",))
    parser.add_argument("--format", default="tar", help="of the data, as in a configuration file")
    parser.add_argument("--data", default="cifar10-train.tar", help="its path")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=32, help="channels of the tokens")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=100, help="of an epoch of settings")
    options = parser.parse_args(arguments)
    measure_settings(options)


if __name__ == "__main__":
    main()
