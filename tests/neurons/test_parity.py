"""Every form of every neuron against the plain autograd reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from spikesight.neurons import (
    LIF,
    Arctan,
    Dynamics,
    Neuron,
    Rectangular,
    Sigmoid,
    StraightThrough,
    create_neuron,
    kernels,
    single_step,
    use_kernels,
)
from spikesight.neurons.firing import fire
from spikesight.neurons.recurrence import Rule

from . import reference

FORMATS = ["contiguous", "channels_last", "swapped", "sliced", "expanded"]


@st.composite
def rules(draw):
    integer = draw(st.booleans())
    steps = draw(st.integers(1, 4))
    retain = draw(st.sampled_from([0.0, 0.5, 0.7, 1.0]))
    threshold = draw(st.sampled_from([1.0, 0.25, 0.6]))
    if integer:
        dynamics = Dynamics(
            steps=steps,
            levels=draw(st.integers(1, 9)),
            threshold=threshold,
            unit=draw(st.sampled_from([1.0, 0.25, 1 / 3])),
            retain=retain,
            ties=draw(st.sampled_from(["up", "even"])),
        )
        surrogate = StraightThrough(closed=draw(st.booleans()))
    else:
        dynamics = Dynamics(
            steps=steps,
            threshold=threshold,
            offset=1.0,
            retain=retain,
            decay_input=draw(st.booleans()),
            reset=draw(st.sampled_from(["soft", "hard"])),
            ties="up",
        )
        surrogate = draw(st.sampled_from([Sigmoid(), Rectangular(), Arctan()]))
    return Rule(dynamics, surrogate, draw(st.booleans()))


def in_format(values: torch.Tensor, name: str) -> torch.Tensor:
    if name == "channels_last":
        return values.contiguous(memory_format=torch.channels_last)
    if name == "swapped":
        return values.transpose(0, 1).contiguous().transpose(0, 1)
    if name == "sliced":
        return torch.cat([values, values], dim=1)[:, : values.shape[1]]
    if name == "expanded":
        return values[:, :1].expand_as(values)
    return values


def currents(rule: Rule, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = rule.dynamics.threshold * rule.dynamics.levels
    x = torch.randn(rule.dynamics.steps * 3, 4, 3, 5, generator=generator, dtype=dtype) * scale
    # Half of the values lie exactly on ties, levels and the ends of the mask.
    ties = (x / rule.dynamics.threshold * 2).round() / 2 * rule.dynamics.threshold
    return torch.where(torch.rand(x.shape, generator=generator) < 0.5, ties, x)


@settings(deadline=None, max_examples=120)
@given(
    rules(), st.sampled_from(FORMATS), st.sampled_from(FORMATS), st.booleans(), st.integers(0, 99)
)
def test_spikes_and_gradients_equal_the_reference(rule, form, grad_form, with_state, seed):
    values = currents(rule, seed)
    start = torch.randn(3, 4, 3, 5, dtype=values.dtype) if with_state else None
    results = []
    for function in (fire, reference.fire):
        x = in_format(values, form).detach().requires_grad_()
        v = None if start is None else start.clone().requires_grad_()
        if function is fire:
            spikes, state = fire(x, rule, v, want_state=with_state)
        else:
            spikes, state = reference.fire(x, rule, v)
        cotangent = torch.randn(
            values.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=values.dtype
        )
        loss = (spikes * in_format(cotangent, grad_form)).sum()
        inputs = [x]
        if v is not None:
            loss = loss + (state * start).sum()
            inputs.append(v)
        results.append((spikes, state, *torch.autograd.grad(loss, inputs)))
    (spikes, state, *grads), (expected, expected_state, *expected_grads) = results
    assert torch.equal(spikes, expected)
    if form in ("contiguous", "channels_last"):
        assert spikes.stride() == in_format(values, form).stride()
    if with_state:
        assert torch.equal(state, expected_state)
    for grad, right in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, right, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(rules(), st.sampled_from([torch.bfloat16, torch.float16, torch.float32]), st.integers(0, 99))
def test_half_precision_spikes_are_those_of_float32(rule, dtype, seed):
    x = currents(rule, seed, torch.float32).to(dtype).requires_grad_()
    wide = x.detach().float().requires_grad_()
    spikes, _ = fire(x, rule)
    expected, _ = reference.fire(wide, rule)
    assert spikes.dtype == dtype
    assert torch.equal(spikes, expected.to(dtype))
    spikes.sum().backward()
    expected.sum().backward()
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(x.grad.float(), wide.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("levels", [1, 3, 4, 8])
@pytest.mark.parametrize("threshold", [1.0, 0.25])
def test_shortcut_masks_the_very_ends_exactly(closed, dtype, levels, threshold):
    rule = Rule(Dynamics(levels=levels, threshold=threshold), StraightThrough(closed))
    assert single_step.applies_to(rule)
    ends = torch.tensor([0.0, levels * threshold], dtype=torch.float64)
    last_place = torch.tensor([1e-4 if dtype == torch.float16 else 1e-30, 0.0])
    step = torch.finfo(dtype).eps * 2 ** float(torch.log2(ends[1]).floor())
    last_place[1] = step
    inside = torch.stack([ends[0] + last_place[0], ends[1] - last_place[1]])
    outside = torch.stack([ends[0] - last_place[0], ends[1] + last_place[1]])
    x = torch.cat([ends, inside, outside]).to(dtype).requires_grad_()
    spikes, _ = fire(x, rule)
    spikes.sum().backward()
    on_ends = [float(closed)] * 2
    expected = torch.tensor([*on_ends, 1.0, 1.0, 0.0, 0.0]) / threshold
    assert torch.equal(x.grad.float(), expected)


def test_blocks_cover_every_neuron(monkeypatch):
    monkeypatch.setattr(kernels, "_BLOCK", 7)
    for name in ("_BLOCK_BYTES", "_SHARED_BLOCK_BYTES"):
        monkeypatch.setattr(single_step, name, 64)
    generator = torch.Generator().manual_seed(0)
    for steps, neuron in ((1, StraightThrough()), (3, StraightThrough()), (3, None)):
        rule = (
            Rule(Dynamics(steps=steps, levels=4, unit=0.25), neuron)
            if neuron
            else LIF(steps=steps).rule
        )
        values = torch.randn(steps * 5, 11, generator=generator, dtype=torch.float64) * 2
        x, y = values.clone().requires_grad_(), values.clone().requires_grad_()
        start = torch.randn(5, 11, generator=generator, dtype=torch.float64) if steps > 1 else None
        spikes, state = fire(x, rule, start, want_state=steps > 1)
        expected, expected_state = reference.fire(y, rule, start)
        assert torch.equal(spikes, expected)
        assert steps == 1 or torch.equal(state, expected_state)
        (spikes * values).sum().backward()
        (expected * values).sum().backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("decay_input", [True, False])
def test_learned_tau_gets_the_reference_gradient(reset, decay_input):
    neuron = LIF(3, 2.5, reset=reset, decay_input=decay_input, learnable_tau=True).double()
    values = torch.randn(6, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    (neuron(values) * values).sum().backward()
    learned = neuron.decay.grad.clone()
    neuron.decay.grad = None
    spikes, _ = reference.fire(values, neuron.rule, retain=neuron.learned_retain())
    (spikes * values).sum().backward()
    assert learned.abs() > 1e-3
    torch.testing.assert_close(learned, neuron.decay.grad, rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=30)
@given(rules(), st.integers(0, 99), st.integers(0, 2))
def test_spikes_do_not_depend_on_batch_mates(rule, seed, sample):
    neuron = Neuron(rule)
    x = currents(rule, seed, torch.float32)
    alone = x.unflatten(0, (rule.dynamics.steps, -1))[:, sample]
    together = neuron(x).unflatten(0, (rule.dynamics.steps, -1))[:, sample]
    assert torch.equal(neuron(alone), together)


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["lif", "ni_lif", "qsd_classification", "learned"])
def test_compiled_kernels_equal_the_eager_ones(name, dtype):
    # The decay of 1 / 3 is inexact, so a fused multiply-add would show in float64.
    neuron = LIF(3, 3.0, learnable_tau=True) if name == "learned" else create_neuron(name, steps=3)
    neuron = neuron.to(dtype)
    generator = torch.Generator().manual_seed(0)
    for width in (1001, 4096):
        values = (torch.randn(6, width, generator=generator) * 2).to(dtype)
        start = torch.randn(2, width, generator=generator).to(dtype)
        results = []
        for mode in ("eager", "compiled"):
            x, v = values.clone().requires_grad_(), start.clone().requires_grad_()
            neuron.zero_grad()
            with use_kernels(mode):
                spikes, membrane = neuron.forward_with_state(x, v)
                ((spikes * values).sum() + membrane.square().sum()).backward()
                inferred = neuron(values)
            learned = [p.grad.clone() for p in neuron.parameters()]
            results.append(([spikes, membrane, inferred], [x.grad, v.grad, *learned]))
        (exact, grads), (compiled, compiled_grads) = results
        assert all(torch.equal(a, b) for a, b in zip(exact, compiled, strict=True))
        for a, b in zip(grads, compiled_grads, strict=True):
            torch.testing.assert_close(a, b)
