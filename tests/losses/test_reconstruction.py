"""The loss of masked-image pre-training."""

import pytest
import torch

from spikesight.losses.reconstruction import (
    from_patches,
    gradient_histograms,
    patch_statistics,
    reconstruction_loss,
    to_patches,
)
from spikesight.models import MaskedImageSizes


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
    colours = reconstruction_loss(target, visible, images, 4, "colours")
    assert colours.tolist() == [0, 0]
    darker = reconstruction_loss(target - 0.5, visible, images, 4, "colours")
    assert darker.tolist() == pytest.approx([0.25, 0.25])
    # Image 1: one of three hidden patches is wrong by 2 everywhere, 4 / 3 on average.
    wrong = right.clone()
    wrong[1, 2] += 2
    loss = reconstruction_loss(wrong, visible, images, 4).tolist()
    assert loss == pytest.approx([0, 4 / 3], rel=1e-5)


def test_gradients_have_directions() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    across, down = gradient_histograms(ramp), gradient_histograms(ramp.transpose(2, 3))
    assert across.shape == (1, 9, 2, 2)
    # Left and right are one direction, a right angle is half of the nine.
    assert across.argmax(1).unique().tolist() == [0]
    assert down.argmax(1).unique().tolist() == [4]
    assert torch.equal(gradient_histograms(-3 * ramp), across)
    assert across.square().sum(1) == pytest.approx(torch.ones(1, 2, 2))
    images = torch.rand(2, 3, 16, 16)
    wanted = to_patches(gradient_histograms(images), 2)
    mean, deviation = patch_statistics(wanted)
    right, visible = (wanted - mean) / deviation, torch.eye(2).bool().expand(2, 2, 2)
    assert right.shape == (2, 4, MaskedImageSizes(target="gradients").values(3, 8))
    assert reconstruction_loss(right, visible, images, 8, "gradients").tolist() == [0, 0]
    zero = reconstruction_loss(torch.zeros_like(right), visible, images, 8, "gradients")
    assert zero.tolist() == pytest.approx([1, 1], rel=1e-3)
