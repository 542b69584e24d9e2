"""Models that answer in milliseconds, with what the page must know of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import spikesight as ss
from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.training.runs.card import Card
from tests.conftest import wake

DIGITS = tuple("0123456789")
_WIDTHS = (8, 8, 8, 8, 8)


def save_classifier(folder: Path, *, channels: int = 1, classes: tuple[str, ...] = DIGITS) -> Path:
    """A classifier of grey or coloured pictures, with random weights."""
    torch.manual_seed(0)
    model = ss.create_model(
        "metaspikformer_nano",
        num_classes=len(DIGITS),
        in_channels=channels,
        levels=3,
        widths=_WIDTHS,
        heads=2,
    )
    wake(model, torch.randn(8, channels, 16, 16)).save_pretrained(folder)
    mean, std = (0.5,) * channels, (0.25,) * channels
    steps = Preprocessing(16, channels, mean, std, 1.0, classes)
    Card(None, steps, 0, "model", None).write(folder)
    return folder


def save_event_classifier(folder: Path) -> Path:
    """A classifier of two frames of events."""
    torch.manual_seed(0)
    model = ss.create_model(
        "spikformer_nano", num_classes=len(DIGITS), in_channels=2, steps=2, levels=2
    )
    wake(model, torch.rand(4, 2, 2, 16, 16)).save_pretrained(folder)
    steps = EventPreprocessing(16, 2, 2, max_count=7, classes=DIGITS)
    Card(None, steps, 0, "model", None).write(folder)
    return folder


def save_photo(path: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> Path:
    """A photo of coarse noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)
    return path
