from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from spikesight.data.events.augmentation import (
    EventEvaluationTransform,
    EventTrainingTransform,
    cut_out,
    drop_events,
    move_events,
    roll_frames,
    turn_frames,
)


def counts(batch: int = 16, channels: int = 2, size: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    two = torch.randint(0, 5, (batch, 4, 2, size, size), generator=generator)
    frames = two if channels == 2 else torch.cat([two, two.sum(2, keepdim=True)], 2)
    return frames.to(torch.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ALL: dict[str, Any] = {
    "horizontal_flip": True,
    "roll": 3,
    "rotation": 20.0,
    "shear": 15.0,
    "scale": 0.3,
    "cutout": 6,
    "polarity": True,
    "drop": True,
}


@pytest.mark.parametrize("fields", [{}, *({name: value} for name, value in ALL.items()), ALL])
@pytest.mark.parametrize("channels", [2, 3])
def test_counts_stay_whole_and_draws_are_a_function_of_the_seed(
    fields: dict[str, Any], channels: int
) -> None:
    frames = counts(channels=channels)
    transform = EventTrainingTransform(**fields)
    out = transform(frames, seeded())
    assert out.shape == frames.shape
    assert out.dtype == torch.float32
    assert torch.equal(out, out.round())
    assert torch.equal(out, transform(frames, seeded()))
    if fields:
        assert not torch.equal(out, transform(frames, seeded(1)))
        assert not torch.equal(out, frames.float())
    else:
        assert torch.equal(out, frames.float())
    if channels == 3:
        assert torch.equal(out[:, :, 2], out[:, :, 0] + out[:, :, 1])
    assert out.max() <= frames.max()


def test_some_sequences_are_left_alone_and_frames_are_treated_alike() -> None:
    frames = counts(64)[:, :1].expand(-1, 4, -1, -1, -1)
    fields = {name: value for name, value in ALL.items() if name not in ("drop", "horizontal_flip")}
    out = EventTrainingTransform(**fields)(frames, seeded())
    same = (out == frames).flatten(1).all(1)
    assert 4 <= int(same.sum()) <= 24  # a fifth of 64 on average
    assert torch.equal(out, out[:, :1].expand_as(out))


def test_evaluation_changes_nothing() -> None:
    frames = counts()
    assert torch.equal(EventEvaluationTransform()(frames), frames.float())


def test_roll_goes_around_the_border() -> None:
    frames = counts(2).float()
    out = roll_frames(frames, torch.tensor([2, -1]), torch.tensor([-3, 0]))
    assert torch.equal(out[0], frames[0].roll((2, -3), (-2, -1)))
    assert torch.equal(out[1], frames[1].roll(-1, -2))


def test_rotation_by_a_quarter_and_shear() -> None:
    frames = counts(3).float()
    turned = turn_frames(frames, torch.tensor([0.0, math.pi / 2, 0.0]), torch.tensor([0, 0, 0.4]))
    assert torch.equal(turned[0], frames[0])
    quarters = [frames[1].rot90(k, (-2, -1)) for k in (1, -1)]
    assert any(torch.equal(turned[1], quarter) for quarter in quarters)
    assert not torch.equal(turned[2], frames[2])
    # A shear keeps the rows.
    middle = turned[2][..., 5:7, :].flatten(0, 1)
    assert torch.equal(middle, frames[2][..., 5:7, :].flatten(0, 1))


def test_cutout_empties_a_square_of_chosen_sequences() -> None:
    frames = counts().float() + 1
    chosen = torch.arange(16) % 2 == 0
    empty = cut_out(frames, 5, chosen, seeded()) == 0
    assert not empty[~chosen].any()
    rows, columns = empty.any(-1), empty.any(-2)
    sides = rows.sum(-1)
    assert torch.equal(sides, columns.sum(-1))
    assert sides.unique().max() <= 5
    assert bool((sides[chosen] >= 1).all())
    assert torch.equal(empty, empty[:, :1, :1].expand_as(empty))


def test_dropping() -> None:
    frames = torch.full((4000, 4, 2, 4, 4), 4.0)
    out = drop_events(frames, seeded())
    whole = (out == 4).flatten(1).all(1)
    by_time = (
        ~whole
        & (((out == 4) | (out == 0)).flatten(1).all(1))
        & ((out == out[..., :1, :1]).flatten(1).all(1))
    )
    by_area = ~whole & ~by_time & ((out == 4) | (out == 0)).flatten(1).all(1)
    at_random = ~whole & ~by_time & ~by_area
    for group in (whole, by_time, by_area, at_random):
        assert 0.17 < float(group.float().mean()) < 0.33
    kept = out[at_random].mean() / 4
    assert float(kept) == pytest.approx(0.5, abs=0.03)  # a share of 0.1 to 0.9 is dropped


def test_dropping_leaves_saturated_counts_saturated() -> None:
    single = torch.full((64, 4, 2, 8, 8), 100.0)
    frames = torch.cat([single, torch.full((64, 4, 1, 8, 8), 127.0)], 2)
    dropped = drop_events(frames, torch.Generator().manual_seed(0))
    assert (dropped <= frames).all()
    whole = (dropped[:, :, :2] == single).flatten(1).all(1)
    assert whole.any()
    assert torch.equal(dropped[whole], frames[whole])
    assert not whole.all()


def test_all_operations_or_one() -> None:
    frames = counts(64)
    fields: dict[str, Any] = {"roll": 3, "rotation": 20.0, "scale": 0.3}
    for combine, least, most in ((True, 63, 64), (False, 32, 58)):
        out = EventTrainingTransform(**fields, combine=combine)(frames, seeded())
        changed = (out != frames).flatten(1).any(1).sum()
        assert least <= int(changed) <= most


def test_a_doubled_size_repeats_the_middle() -> None:
    frames = counts(2).float()
    none = torch.zeros(2)
    out = turn_frames(frames, none, none, torch.tensor([1.0, 2.0]))
    assert torch.equal(out[0], frames[0])
    middle = frames[1, ..., 3:9, 3:9].repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(out[1], middle)


@pytest.mark.parametrize("channels", [2, 3])
def test_polarities_swap_in_half_of_the_sequences(channels: int) -> None:
    frames = counts(64, channels)
    out = EventTrainingTransform(polarity=True)(frames, seeded())
    swapped = (out != frames).flatten(1).any(1)
    assert 20 <= int(swapped.sum()) <= 44
    assert torch.equal(out[swapped][:, :, :2], frames[swapped][:, :, :2].flip(2).float())
    assert torch.equal(out[:, :, 2:], frames[:, :, 2:].float())


@pytest.mark.parametrize("channels", [2, 3])
def test_events_move_to_the_next_frame_and_none_is_lost(channels: int) -> None:
    single = torch.zeros(2, 5, 2, 8, 8)
    single[0, 2], single[1, 0] = 100, 100
    frames = torch.cat([single, single.sum(2, keepdim=True)], 2)[:, :, :channels]
    out = move_events(frames, 0.4, seeded())
    assert torch.equal(out.sum(1), frames.sum(1))
    shares = out[:, :, :2].mean((2, 3, 4)) / 100
    assert shares[0].tolist() == pytest.approx([0, 0.2, 0.6, 0.2, 0], abs=0.02)
    assert shares[1].tolist() == pytest.approx([0.8, 0.2, 0, 0, 0], abs=0.02)
    if channels == 3:
        assert torch.equal(out[:, :, 2], out[:, :, 0] + out[:, :, 1])
