"""A stream in pieces equals one call over all of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.neurons import Neuron

from ..conftest import firing_rates, wake

STEPS = 8
SMALL: dict[str, Any] = {"widths": [8, 8, 16, 16, 16], "heads": 2}
NEURONS = {"lif": None, "i_lif": 4, "ni_lif": 4, "ie_lif": 4, "sdt": None, "relu": None}


def build(neuron: str, levels: int | None) -> tuple[nn.Module, Tensor]:
    model = ss.create_model(
        "metaspikformer_nano",
        num_classes=5,
        in_channels=2,
        steps=STEPS,
        neuron=neuron,
        levels=levels,
        **SMALL,
    ).double()
    frames = torch.poisson(torch.rand(2, STEPS, 2, 16, 16) * 3).double()
    return wake(model, frames), frames


def record_spikes(call: Callable[[], object]) -> list[Tensor]:
    """What every neuron emits in a call, in the order of the layers."""
    found: list[Tensor] = []
    forward = Neuron.forward_with_state

    def watch(self: Neuron, *arguments: Any) -> tuple[Tensor, Tensor]:
        spikes, state = forward(self, *arguments)
        found.append(spikes)
        return spikes, state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Neuron, "forward_with_state", watch)
        call()
    return found


@pytest.mark.parametrize("neuron", NEURONS)
@torch.no_grad()
def test_pieces_of_any_length_equal_the_whole(neuron: str) -> None:
    model, frames = build(neuron, NEURONS[neuron])
    assert all(rate > 0 for rate in firing_rates(model, frames).values())
    whole, state = ss.run_with_state(model, frames)
    assert whole.abs().max() > 0
    for lengths in ((1,) * 8, (2,) * 4, (8,), (3, 1, 4)):
        stream = ss.stream(model)
        for piece in frames.split(lengths, 1):
            stream(piece)
        assert stream.steps == STEPS
        torch.testing.assert_close(stream.average, whole, rtol=1e-12, atol=1e-14)
        assert stream.state is not None
        assert stream.state.keys() == state.keys()
        for name in state:
            torch.testing.assert_close(stream.state[name], state[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("neuron", ["lif", "i_lif", "ie_lif"])
@torch.no_grad()
def test_spikes_are_identical(neuron: str) -> None:
    model, frames = build(neuron, NEURONS[neuron])
    whole = record_spikes(lambda: ss.run_with_state(model, frames))
    stream = ss.stream(model)
    pieces = [record_spikes(partial(stream, piece)) for piece in frames.split((1, 2, 5), 1)]
    assert len(whole) > 10
    for layer, expected in enumerate(whole):
        assert torch.equal(torch.cat([piece[layer] for piece in pieces]), expected)


@torch.no_grad()
def test_features_come_piece_by_piece() -> None:
    frames = torch.poisson(torch.rand(2, STEPS, 2, 16, 16) * 3).double()
    trunk = ss.create_model(
        "metaspikformer_nano", in_channels=2, steps=STEPS, features_only=True, **SMALL
    ).double()
    whole = wake(trunk, frames)(frames)
    stream = ss.stream(trunk)
    pieces = [stream(piece) for piece in frames.split((2, 2, 4), 1)]
    for level, expected in enumerate(whole):
        joined = torch.cat([piece[level] for piece in pieces], 1)
        torch.testing.assert_close(joined, expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="no average"):
        _ = stream.average


@torch.no_grad()
def test_nothing_stays_on_the_model() -> None:
    model, frames = build("lif", None)
    before = model(frames)
    stream = ss.Stream(model)
    first = stream(frames[:, 0])
    assert torch.equal(stream.average, first)
    assert torch.equal(model(frames), before)
    stream.reset()
    assert torch.equal(stream(frames[:, :1]), first)
    # Weights are shared, so a change of the model's shows at once.
    next(p for p in model.parameters() if p.ndim > 1).mul_(3)
    stream.reset()
    assert not torch.equal(stream(frames[:, :1]), first)


def _assign(model: nn.Module) -> None:
    state = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


REPLACEMENTS: dict[str, Callable[[nn.Module], object]] = {
    "quantize": lambda model: ss.quantize(model, 4),
    "load_state_dict(assign=True)": _assign,
    "to": lambda model: model.float(),
}


@pytest.mark.parametrize("replace", REPLACEMENTS.values(), ids=REPLACEMENTS)
@torch.no_grad()
def test_a_model_whose_tensors_are_replaced_ends_the_stream(
    replace: Callable[[nn.Module], object],
) -> None:
    model, frames = build("lif", None)
    begun, fresh = ss.stream(model), ss.stream(model)
    for stream in (begun, fresh):
        stream(frames[:, :2])
    fresh.reset()
    replace(model)
    frames = frames.to(next(model.parameters()).dtype)
    with pytest.raises(RuntimeError, match=r"call reset\(\), or make a new stream"):
        begun(frames[:, 2:])
    begun.reset()
    expected = ss.stream(model)(frames)
    for stream in (begun, fresh):
        assert torch.equal(stream(frames), expected)
        stream.reset()
        stream(frames[:, :2])
        stream(frames[:, 2:])
        torch.testing.assert_close(stream.average, expected)


@torch.no_grad()
def test_another_order_gives_another_answer() -> None:
    model, frames = build("lif", None)
    streams = [ss.stream(model), ss.stream(model)]
    for number in range(STEPS):
        streams[0](frames[:, number])
        streams[1](frames[:, STEPS - 1 - number])
    assert not torch.allclose(streams[0].average, streams[1].average)


@torch.no_grad()
def test_mistakes() -> None:
    model, frames = build("lif", None)
    stream = ss.stream(model)
    with pytest.raises(ValueError, match="there is no average"):
        _ = stream.average
    with pytest.raises(ValueError, match=r"pass \[B, t, C, H, W\]"):
        stream(frames[0, 0])
    with pytest.raises(ValueError, match=r"pass \[B, t, C, H, W\]"):
        stream(frames[:, :0])
    stream(frames[:, :1])
    with pytest.raises(ValueError, match="same batch size"):
        stream(frames[:1, :1])
