from __future__ import annotations

import numpy as np
import pytest
import torch

from spikesight.data import DataError
from spikesight.data.events import saccade_events
from spikesight.data.events.saccades import SACCADE_MICROSECONDS
from spikesight.data.photos.digits import read_digits

from .files import assert_same


def test_a_flat_photo_is_silent() -> None:
    assert len(saccade_events(torch.full((3, 9, 9), 90, dtype=torch.uint8), 12)) == 0


def test_the_same_events_every_time() -> None:
    photo = read_digits().images[0]
    events = saccade_events(photo, 16)
    assert_same(events, saccade_events(photo, 16))
    assert len(events) > 500
    assert events.t[0] >= 0
    assert events.t[-1] <= 3 * SACCADE_MICROSECONDS
    assert 0.3 < events.polarity.mean() < 0.7
    assert len(saccade_events(photo, 16, threshold=0.5)) < len(events)
    colour = saccade_events(photo.expand(3, -1, -1), 16)
    assert len(colour) > 0


def test_an_edge_fires_where_and_when_it_passes() -> None:
    # Left half dark, right half bright. The view moves right, right, left: pixels at the edge
    # become brighter, brighter, darker.
    photo = torch.zeros(1, 32, 32, dtype=torch.uint8)
    photo[..., 16:] = 255
    events = saccade_events(photo, 32)
    step = SACCADE_MICROSECONDS
    for number, brighter in enumerate((True, True, False)):
        part = events.between(number * step, (number + 1) * step)
        assert len(part) > 100
        assert bool((part.polarity == brighter).all())
    assert events.x.min() >= 12
    assert events.x.max() <= 19
    # The camera comes back to where it began, so per pixel ups and downs cancel.
    up, down = (
        np.bincount((events.y * 32 + events.x)[events.polarity == sign], minlength=1024)
        for sign in (True, False)
    )
    assert np.abs(up - down).max() <= 1
    # A horizontal edge is crossed down, up, and not at all on the way back.
    flipped = saccade_events(photo.transpose(1, 2), 32)
    down, up = flipped.between(0, step), flipped.between(step, 2 * step)
    assert len(down) > 100
    assert len(up) > 100
    assert down.polarity.all()
    assert not up.polarity.any()
    assert len(flipped.between(2 * step + 1, 3 * step)) == 0


def test_crossings_are_interpolated() -> None:
    photo = torch.zeros(1, 32, 32, dtype=torch.uint8)
    photo[..., 16:] = 255
    events = saccade_events(photo, 32, threshold=0.1)
    assert len(np.unique(events.t)) > 75  # more moments than views


def test_mistakes() -> None:
    with pytest.raises(DataError, match=r"uint8 \[1 or 3, H, W\]"):
        saccade_events(torch.zeros(1, 8, 8))
    with pytest.raises(DataError, match="size is 1"):
        saccade_events(torch.zeros(1, 8, 8, dtype=torch.uint8), 1)
