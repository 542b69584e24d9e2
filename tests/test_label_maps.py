import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from spikesight.label_maps import resize_labels
from spikesight.losses.segmentation import shares


def _centre(values: Tensor) -> Tensor:
    values = values.double()
    places = torch.arange(len(values), dtype=torch.float64)
    return torch.stack([(values.sum(1) * places).sum(), (values.sum(0) * places).sum()]) / (
        values.sum()
    )


@pytest.mark.parametrize("size", [16, 32, 27, 48, 64, 96, 128, 149])
def test_labels_stay_where_their_photo_is(size: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    random = torch.Generator().manual_seed(0)
    shifts, growth = [], []
    for _ in range(40):
        middle = 24 + 16 * torch.rand(2, generator=random)
        disc = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < 15**2
        photo = interpolate(
            disc[None, None].double(), (size, size), mode="bilinear", antialias=True
        )
        labels = resize_labels(disc.int(), (size, size))
        shifts.append(_centre(labels) - _centre(photo[0, 0]))
        growth.append(float(labels.sum() / photo.sum()) - 1)
    assert torch.stack(shifts).mean(0).abs().max() < 0.05
    assert abs(sum(growth)) / len(growth) < 0.02


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.data())
def test_the_winner_weighs_most_in_bilinear_interpolation(
    old_height: int, old_width: int, height: int, width: int, data: st.DataObject
) -> None:
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    labels = torch.randint(-1, 3, (old_height, old_width), generator=random).int()
    found = resize_labels(labels, (height, width))
    assert found.dtype == labels.dtype
    shares = torch.stack([(labels == number).double() for number in range(-1, 3)])
    weights = interpolate(shares[None], (height, width), mode="bilinear")[0]
    won = weights.gather(0, found.long()[None] + 1)[0]
    assert torch.allclose(won, weights.max(0).values)


def test_labels_of_the_same_size_are_the_same() -> None:
    labels = torch.randint(0, 9, (5, 7))
    assert torch.equal(resize_labels(labels, (5, 7)), labels)


def test_shares_of_masks_keep_their_place_and_area() -> None:
    masks = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.2
    small = shares(masks, torch.zeros(1, 1, 8, 8))
    assert torch.allclose(small.sum((1, 2)) * 16, masks.sum((1, 2)).float())
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 8:24, 6:22] = True
    shift = (_centre(shares(mask, torch.zeros(1, 1, 8, 8))[0]) + 0.5) * 4
    assert torch.allclose(shift, _centre(mask[0]) + 0.5)
