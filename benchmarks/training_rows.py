"""What benchmarks/train.py trains: models and the size of their input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.training import TrainConfig
from spikesight.training.runs.preparation import build_model

CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = 10


@dataclass(frozen=True)
class Row:
    """A model and its input.

    Attributes:
        name: What the row is called.
        size: Pixels of a side.
        batch: Images.
        build: Makes our model.
        jelly: Arguments of SpikingJelly's Spikformer, whose weights our model then has.
        strides: Down-sampling of the stages of its stem, which no weights tell.
        channels: Channels of an image.
        frames: Frames of events for each input; 0 for images.
        channels_last: The memory format of our form.
    """

    name: str
    size: int
    batch: int
    build: Callable[[], nn.Module]
    jelly: dict[str, int] | None = None
    strides: tuple[int, ...] = ()
    channels: int = 3
    frames: int = 0
    channels_last: bool = True

    def batch_of(self, count: int) -> tuple[Tensor, Tensor]:
        """Seeded inputs and classes."""
        generator = torch.Generator().manual_seed(1)
        frames = [self.frames] if self.frames else []
        shape = (count, *frames, self.channels, self.size, self.size)
        x = torch.randn(shape, generator=generator)
        return x, torch.randint(CLASSES, (count,), generator=generator)


def spikformer_row(name: str, size: int, batch: int, patch: int, **sizes: Any) -> Row:
    """A Spikformer that SpikingJelly has too: LIF, T = 4."""
    strides = (2, 2, 2, 2) if patch == 16 else (1, 1, 2, 2)

    def build() -> nn.Module:
        model: nn.Module = ss.create_model(
            "spikformer",
            neuron="lif",
            steps=4,
            num_classes=CLASSES,
            strides=strides,
            bias=False,
            pool_of="currents",
            **sizes,
        )
        return model

    arguments = {"size": size, "patch": patch, "num_classes": CLASSES, **sizes}
    return Row(name, size, batch, build, arguments, strides)


def metaspikformer_row() -> Row:
    """Meta-SpikeFormer 15M with integer neurons, T = 1, D = 4."""

    def build() -> nn.Module:
        model: nn.Module = ss.create_model(
            "metaspikformer_15m", num_classes=CLASSES, neuron="i_lif", levels=4
        )
        return model

    return Row("metaspikformer_15m", 224, 4, build)


def recipe_row(name: str) -> Row:
    """The model, input and batch of a file of configs/."""
    config = TrainConfig.load(CONFIGS / f"{name}.yaml")
    data = config.data
    return Row(
        name,
        data.image_size,
        config.batch_size,
        lambda: build_model(config, CLASSES, data.channels)[0],
        channels=data.channels,
        frames=config.model.steps if data.holds_events else 0,
        channels_last=bool(config.channels_last),
    )


ROWS: dict[str, Callable[[], Row]] = {
    "spikformer_4_256": lambda: spikformer_row(
        "spikformer_4_256", 128, 4, 16, width=256, heads=8, depth=4
    ),
    "spikformer_4_384_cifar": lambda: spikformer_row(
        "spikformer_4_384_cifar", 32, 32, 4, width=384, heads=12, depth=4
    ),
    "metaspikformer_15m": metaspikformer_row,
    # Those that start from random weights.
    **{
        name: partial(recipe_row, name)
        for name in (
            "fashion_mnist_nano",
            "cifar10_tiny",
            "cifar10_spikformer_v2_tiny",
            "painted_digits_nano",
            "digits_events_nano",
        )
    },
}
