from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image

from spikesight.data import DataError
from spikesight.data.events import Events, draw_film, draw_frames, event_frames, save_gif, sum_pool

from .files import random_events

SLICINGS = st.sampled_from(["count", "time"])


def count_by_hand(events: Events, frames: int, slicing: str) -> np.ndarray:
    counts = np.zeros((frames, 2, events.height, events.width), np.int32)
    span = int(events.t[-1] - events.t[0]) + 1
    for number in range(len(events)):
        if slicing == "count":
            slice_number = number * frames // len(events)
        else:
            slice_number = int(events.t[number] - events.t[0]) * frames // span
        counts[slice_number, int(events.polarity[number]), events.y[number], events.x[number]] += 1
    return counts


@given(st.integers(1, 60), st.integers(1, 9), SLICINGS, st.integers(0, 50))
def test_counts(count: int, frames: int, slicing: str, seed: int) -> None:
    events = random_events(count, 5, 4, seed, longest=9)
    two = event_frames(events, frames, slicing)  # type: ignore[arg-type]
    assert two.dtype == torch.int32
    np.testing.assert_array_equal(two.numpy(), count_by_hand(events, frames, slicing))
    three = event_frames(events, frames, slicing, channels=3)  # type: ignore[arg-type]
    torch.testing.assert_close(three, torch.stack([two[:, 1], two[:, 0], two.sum(1).int()], 1))


def test_slices_of_equal_count_and_of_equal_time() -> None:
    t = np.array([0, 1, 2, 3, 4, 5, 6, 79])
    zeros = np.zeros(8)
    events = Events(t, zeros, zeros, zeros, 1, 1)
    assert event_frames(events, 4, "count").flatten(1).sum(1).tolist() == [2, 2, 2, 2]
    assert event_frames(events, 4, "time").flatten(1).sum(1).tolist() == [7, 0, 0, 1]
    uneven = event_frames(events, 3, "count").flatten(1).sum(1)
    assert sorted(uneven.tolist()) == [2, 3, 3]


def test_frames_stand_upright() -> None:
    one = np.array([0])
    for origin, row in (("upper left", 1), ("lower left", 2)):
        events = Events(one, one, one + 1, one, 3, 4, origin)  # type: ignore[arg-type]
        assert event_frames(events, 1)[0, 0].nonzero().tolist() == [[row, 0]]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(1, 24))
def test_no_event_is_lost_in_resizing(width: int, height: int, wide: int, high: int) -> None:
    events = random_events(50, width, height)
    frames = event_frames(events, 2, size=(high, wide))
    assert frames.shape == (2, 2, high, wide)
    assert int(frames.sum()) == 50


def test_halving_is_sum_pooling_and_smaller_ones_are_padded() -> None:
    events = random_events(500, 16, 16)
    whole = event_frames(events, 3)
    assert torch.equal(event_frames(events, 3, size=8), sum_pool(whole, 2))
    padded = event_frames(events, 3, size=20)
    assert torch.equal(padded[..., 2:18, 2:18], whole)
    wide = event_frames(random_events(500, 16, 8), 3, size=8)
    assert int(wide[..., :2, :].sum()) == int(wide[..., 6:, :].sum()) == 0


def test_no_events() -> None:
    empty = random_events(0, 5, 4)
    assert event_frames(empty, 3, "time").tolist() == torch.zeros(3, 2, 4, 5).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"slicing": "size"}, "slicing is 'size'"),
        ({"channels": 1}, "channels is 1; pass 2 .negative, positive. or 3"),
        ({"size": 0}, "size is 0"),
    ],
)
def test_mistakes(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        event_frames(random_events(5, 4, 4), **arguments)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not divide"):
        sum_pool(torch.zeros(1, 2, 6, 6), 4)


@pytest.mark.parametrize("channels", [2, 3])
def test_gif(channels: int, tmp_path: Path) -> None:
    t = np.arange(3)
    events = Events(t, np.array([0, 1, 2]), np.array([0, 1, 2]), np.array([1, 0, 1]), 4, 4)
    frames = event_frames(events, 3, channels=channels)
    path = save_gif(frames, tmp_path / "new" / "a.gif", 50)
    with Image.open(path) as gif:
        assert gif.n_frames == 3
        assert gif.size == (192, 192)
        assert gif.info["duration"] == 50
    pictures = draw_frames(frames)
    brighter, darker = (pictures[i].getpixel((48 * i + 24, 48 * i + 24)) for i in (0, 1))
    assert brighter[0] > brighter[2]
    assert darker[2] > darker[0]
    with pytest.raises(DataError, match=r"ending in \.gif"):
        save_gif(frames, tmp_path / "a.png")
    with pytest.raises(DataError, match="20 or more"):
        save_gif(frames, tmp_path / "a.gif", 5)
    with pytest.raises(DataError, match="have shape"):
        draw_frames(frames[0])
    assert len(draw_frames(torch.zeros_like(frames))) == 3


@pytest.mark.parametrize(("steps", "columns"), [(1, 1), (2, 2), (4, 2), (6, 3), (7, 7), (8, 4)])
def test_a_film_shows_frames_in_the_order_of_reading(steps: int, columns: int) -> None:
    frames = torch.zeros(steps, 2, 64, 96, dtype=torch.int32)
    for step in range(steps):
        frames[step, step % 2, :, : 8 * (step + 1)] = 1
    film = draw_film(frames)
    alone = draw_frames(frames)
    width, height = alone[0].size
    assert film.width == columns * (width + 4) - 4
    for step, picture in enumerate(alone):
        left, top = step % columns * (width + 4), step // columns * (height + 4)
        cut = film.crop((left, top, left + width, top + height))
        assert cut.tobytes() == picture.tobytes()
