"""The loss of masked-image pre-training."""

import pytest
import torch

from spikesight.losses.reconstruction import (
    from_patches,
    patch_statistics,
    reconstruction_loss,
    to_patches,
)


def test_patches_are_cut_row_by_row() -> None:
    images = torch.rand(2, 3, 8, 12)
    patches = to_patches(images, 4)
    assert patches.shape == (2, 6, 48)
    assert torch.equal(patches[1, 4].view(3, 4, 4), images[1, :, 4:8, 4:8])
    assert torch.equal(from_patches(patches, 4, (2, 3)), images)


def test_only_hidden_patches_cost() -> None:
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64).float()
    visible = torch.tensor([[[True, False], [True, True]], [[False, False], [False, True]]])
    target = to_patches(images, 4)
    mean, deviation = patch_statistics(target)
    right = (target - mean) / deviation
    assert reconstruction_loss(right, visible, images, 4).tolist() == pytest.approx([0, 0])
    nonsense = torch.where(visible.flatten(1)[..., None], 100.0, right)
    assert reconstruction_loss(nonsense, visible, images, 4).tolist() == pytest.approx([0, 0])
    zero = reconstruction_loss(torch.zeros_like(right), visible, images, 4)
    assert zero.tolist() == pytest.approx([1, 1], rel=1e-4)
    # Image 1: one of three hidden patches is wrong by 2 everywhere, 4 / 3 on average.
    wrong = right.clone()
    wrong[1, 2] += 2
    loss = reconstruction_loss(wrong, visible, images, 4).tolist()
    assert loss == pytest.approx([0, 4 / 3], rel=1e-5)
