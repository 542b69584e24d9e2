"""The first convolution of a fresh model begins by whitening."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from spikesight.errors import UserError
from spikesight.training import TrainConfig, Trainer
from spikesight.training.whitening import whiten

Build = Callable[..., TrainConfig]
PATCH = 9  # a kernel of 3x3 on one channel


def test_filters_give_independent_outputs_of_unit_variance(tiny: Build) -> None:
    widths = [2 * PATCH + 2, 4, 8, 8, 8]
    config = tiny(model__whitened=True, model__arguments__widths=widths, batch_size=512)
    run = Trainer(config)
    images = run._first_images()
    convolution = next(m for m in run.model.modules() if isinstance(m, torch.nn.Conv2d))
    kernels = convolution.weight.flatten(1).double()
    patches = F.unfold(images, 3, stride=convolution.stride).transpose(1, 2).reshape(-1, PATCH)
    outputs = patches.double() @ kernels[:PATCH].T
    covariance = outputs.T @ outputs / len(outputs)
    # The border of a digit is black, so the smallest variances drown in what counts as noise.
    certain = covariance.diagonal() > 0.5
    assert certain.sum() >= PATCH // 2
    torch.testing.assert_close(
        covariance[certain][:, certain],
        torch.eye(int(certain.sum()), dtype=torch.float64),
        rtol=0,
        atol=0.2,
    )
    assert torch.equal(kernels[PATCH : 2 * PATCH], -kernels[:PATCH])
    plain = Trainer(tiny("plain", model__arguments__widths=widths, batch_size=512)).model
    (first, *others) = zip(run.model.named_parameters(), plain.parameters(), strict=True)
    assert torch.equal(first[0][1][2 * PATCH :], first[1][2 * PATCH :])
    for (name, value), other in others:
        assert torch.equal(value, other), name


def test_the_same_seed_whitens_alike(tiny: Build) -> None:
    first, second = (Trainer(tiny(name, model__whitened=True)).model for name in ("one", "two"))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_images_of_other_channels_are_refused(tiny: Build) -> None:
    run = Trainer(tiny())
    with pytest.raises(UserError, match="reads all 2 channels"):
        whiten(run.model, torch.rand(4, 2, 8, 8), run.accelerator)
