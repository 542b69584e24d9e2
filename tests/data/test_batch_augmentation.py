from __future__ import annotations

import pytest
import torch
from torch import Tensor

from spikesight.data import EvaluationTransform, TrainingTransform
from spikesight.data.photos.augmentation import erase_, resized_crop, shift_and_flip

COUNT = 256


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(channels: int = 3, height: int = 9, width: int = 12) -> Tensor:
    shape = (COUNT, channels, height, width)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator(1))


def ramp(height: int, width: int) -> Tensor:
    """The same image many times, so that what differs is the draw."""
    image = torch.arange(1, height * width + 1, dtype=torch.uint8).view(1, 1, height, width)
    return image.expand(COUNT, 1, -1, -1).contiguous()


def test_normalisation_is_per_channel() -> None:
    images = noise()
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    expected = torch.stack(
        [(images[:, c].double() / 255 - mean[c]) / std[c] for c in range(3)], dim=1
    )
    result = EvaluationTransform(mean, std)(images)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    images = noise()
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    training = TrainingTransform(mean, std)(images, generator())
    assert torch.equal(training, EvaluationTransform(mean, std)(images))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_shift_is_a_crop_of_the_padded_image(channels: int) -> None:
    images, padding = noise(channels), 2
    result = shift_and_flip(images, padding, False, generator())
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    height, width = images.shape[2:]
    seen = set()
    for image, frame in zip(result, padded, strict=True):
        places = [
            (top, left)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            if torch.equal(image, frame[:, top : top + height, left : left + width])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == (2 * padding + 1) ** 2


def test_half_of_the_images_are_mirrored() -> None:
    images = noise()
    result = shift_and_flip(images, 0, True, generator())
    mirrored = [torch.equal(r, i.flip(2)) for r, i in zip(result, images, strict=True)]
    same = [torch.equal(r, i) for r, i in zip(result, images, strict=True)]
    assert sum(mirrored) + sum(same) == COUNT
    assert 90 < sum(mirrored) < 166


def test_a_shift_and_a_mirroring_go_together() -> None:
    images = ramp(6, 5)
    result = shift_and_flip(images, 1, True, generator())
    padded = torch.nn.functional.pad(images[0], (1,) * 4)
    allowed = {
        tuple(view.flatten().tolist())
        for top in range(3)
        for left in range(3)
        for crop in [padded[:, top : top + 6, left : left + 5]]
        for view in (crop, crop.flip(2))
    }
    seen = {tuple(image.flatten().tolist()) for image in result}
    assert seen == allowed


def test_a_resized_crop_stays_inside_and_differs_per_image() -> None:
    images = ramp(8, 8)
    result = resized_crop(images, 0.25, generator())
    assert result.shape == images.shape
    assert result.min() >= 1
    assert result.max() <= 64
    assert len(result.flatten(1).unique(dim=0)) == COUNT
    # Rows are 8 apart in the ramp and columns 1: the step between rows is the crop's height.
    steps = (result[:, 0, 4, 4] - result[:, 0, 3, 4]) / 8
    assert steps.max() <= 1 + 1e-4
    assert steps.min() >= (0.25 / (4 / 3)) ** 0.5 - 1e-4
    assert steps.min() < 0.6


def test_erasing_blanks_one_rectangle() -> None:
    images = noise(1, 32, 32).float()
    result = erase_(images.clone(), 0.5, generator())
    erased = result == 0
    changed = erased.flatten(1).any(1)
    assert 90 < int(changed.sum()) < 166
    assert torch.equal(result[~erased], images[~erased])
    areas = []
    for mask in erased[changed][:, 0]:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()
        areas.append(box.numel() / mask.numel())
    assert 0.01 < min(areas) < 0.05
    assert 0.25 < max(areas) < 0.4


def test_erasing_is_the_same_in_all_channels() -> None:
    erased = erase_(noise().float(), 1.0, generator()) == 0
    assert torch.equal(erased[:, 0], erased[:, 2])


def test_the_generator_decides_everything() -> None:
    transform = TrainingTransform((0.5,), (0.25,), 0.3, 2, True, 0.5)
    images = noise(1)
    state = torch.random.get_rng_state()
    first = transform(images, generator(5))
    assert torch.equal(first, transform(images, generator(5)))
    assert not torch.equal(first, transform(images, generator(6)))
    assert torch.equal(state, torch.random.get_rng_state())
