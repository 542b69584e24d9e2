"""Inputs with which every number would be wrong."""

import warnings
from typing import Any

import pytest
import torch

import spikesight as ss
from spikesight.errors import UserError


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return ss.create_model("metaspikformer_nano", num_classes=3, steps=2).eval()


@pytest.fixture(scope="module")
def network(model: Any) -> Any:
    return ss.deploy(model, torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(model: Any, network: Any, wrong: float) -> None:
    x = torch.randn(2, 3, 32, 32)
    x[1, 2, 3, 4] = wrong
    for call in (
        lambda: ss.verify(model, x),
        lambda: ss.energy(model, x),
        lambda: ss.energy(network, x),
        lambda: ss.audit(network, x),
        lambda: ss.deploy(model, x),
        lambda: network(x),
        lambda: network.spikes(x),
        lambda: network.verify(x),
    ):
        with pytest.raises(UserError, match="not finite"):
            call()


def test_photos_that_nobody_normalised_are_told(model: Any, network: Any) -> None:
    photos = torch.randint(0, 256, (2, 3, 32, 32)).float()
    for call in (
        lambda: ss.verify(model, photos),
        lambda: ss.energy(model, photos),
        lambda: ss.deploy(model, photos),
        lambda: network(photos),
        lambda: network.verify(photos),
    ):
        with pytest.warns(UserWarning, match="normalised"):
            call()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network((photos - 128) / 64)
        ss.energy(model, (photos - 128) / 64)
        ss.energy(model, photos / 255)


def test_counts_of_events_need_no_normalisation() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3, steps=2, in_channels=2).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ss.energy(model, torch.randint(0, 100, (1, 2, 2, 32, 32)).float())


@torch.no_grad()
def test_memory_formats_and_batches_give_the_same_integers(network: Any) -> None:
    x = torch.randn(3, 6, 32, 64)[:, ::2, :, ::2]
    wanted = network(x.contiguous())
    assert torch.equal(network(x), wanted)
    assert torch.equal(network(x.contiguous(memory_format=torch.channels_last)), wanted)
    assert torch.equal(torch.cat([network(one) for one in x.split(1)]), wanted)


def test_verify_takes_floating_point_types(model: Any) -> None:
    with pytest.raises(UserError, match=r"dtype is torch.int32"):
        ss.verify(model, torch.randn(1, 3, 32, 32), dtype=torch.int32)
