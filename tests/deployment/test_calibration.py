"""What sets the image's grid is an input that could."""

from __future__ import annotations

import pytest
import torch

import spikesight as ss
from tests.conftest import wake

SHAPE = (2, 3, 16, 16)
NAN = torch.rand(SHAPE).index_fill(0, torch.tensor([1]), float("nan"))
INFINITE = torch.rand(SHAPE).index_fill(0, torch.tensor([1]), float("inf"))
USELESS = {
    "empty": (torch.rand(SHAPE)[:0], r"\(0, 3, 16, 16\) and holds nothing; pass at least one"),
    "NaN": (NAN, "not finite; pass finite ones"),
    "infinite": (INFINITE, "not finite; pass finite ones"),
    "zero": (torch.zeros(SHAPE), "largest magnitude of the inputs is 0, .* pass normalised"),
    "as good as zero": (torch.full(SHAPE, 1e-6), "largest magnitude of the inputs is 1e-06"),
}


def _model() -> ss.SpikingModel:
    return ss.create_model("metaspikformer_nano", num_classes=5)


@pytest.mark.parametrize(("x", "remedy"), USELESS.values(), ids=USELESS)
def test_what_sets_no_grid_is_refused(x: torch.Tensor, remedy: str) -> None:
    model = _model()
    with pytest.raises(ValueError, match=remedy):
        ss.deploy(model, x)
    fit = torch.rand(SHAPE)
    with pytest.raises(ValueError, match=remedy):
        ss.deploy(model, fit, calibration=[x])
    net = ss.deploy(model, fit)
    before = net(fit)
    with pytest.raises(ValueError, match=remedy):
        net.calibrate([x])
    assert torch.equal(net(fit), before)


def test_a_black_image_among_others_sets_a_grid() -> None:
    model = _model()
    x = torch.rand(SHAPE)
    plain = ss.deploy(model, torch.zeros(SHAPE), calibration=[x, torch.zeros(SHAPE)])
    assert plain.graph.input.shift == ss.deploy(model, x).graph.input.shift


def test_an_empty_batch_proves_and_measures_nothing() -> None:
    model = _model()
    x = torch.rand(SHAPE)
    net = ss.deploy(wake(model, x), x)
    for use in (
        lambda: ss.verify(model, x[:0]),
        lambda: net.verify(x[:0], against=("spikes", "training")),
        lambda: ss.energy(model, x[:0]),
        lambda: ss.energy(net, [x[:0]]),
        lambda: ss.audit(net, x[:0]),
    ):
        with pytest.raises(ValueError, match="holds nothing; pass at least one input"):
            use()
