"""Drawings of digits are the same every time, of both kinds, and hold out what scenes hold out."""

from __future__ import annotations

import pytest
import torch

from spikesight.data import DataConfig
from spikesight.data.errors import DataError
from spikesight.data.photos.digits import read_digits
from spikesight.data.photos.drawn_digits import read_drawn_digits
from spikesight.data.photos.painted_digits import usable_digits
from spikesight.data.splits import find_parts


def test_drawings() -> None:
    source = read_drawn_digits("validation")
    held_out = usable_digits(held_out=True, seed=0)[1]
    assert torch.equal(source.labels, read_digits().labels[held_out].repeat_interleave(4))
    assert torch.equal(source.images, read_drawn_digits("validation").images)
    images = source.images
    assert images.shape == (4 * 359, 1, 28, 28)
    frame = torch.cat([images[:, 0, 0], images[:, 0, -1]], 1).float().mean(1)
    dark = frame < 128
    assert 0.4 < dark.float().mean() < 0.6
    assert images[dark].amax((1, 2, 3)).min() > 128  # ink everywhere
    assert images[~dark].amin((1, 2, 3)).max() < 128


def test_they_have_their_own_validation_drawings() -> None:
    assert find_parts(DataConfig(format="drawn_digits", validation_fraction=0)).keys() == {
        "train",
        "validation",
    }
    with pytest.raises(DataError, match="'drawn_digits' has its own validation digits"):
        DataConfig(format="drawn_digits")
