"""The kernels for CUDA devices: run by Triton's interpreter, and compiled as a device has them."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from spikesight.neurons import (
    LIF,
    Arctan,
    Dynamics,
    Sigmoid,
    StraightThrough,
    kernels,
    use_kernels,
)
from spikesight.neurons.recurrence import Rule, compute_dtype, run_backward, run_forward

from .test_parity import rules

triton = pytest.importorskip("triton")
from spikesight.neurons import triton_kernels  # noqa: E402

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
HARD_LIF = Rule(
    Dynamics(steps=4, offset=1.0, retain=0.7, decay_input=True, reset="hard", ties="up"), Sigmoid()
)
SOFT_LIF = Rule(Dynamics(steps=3, offset=1.0, retain=0.3, threshold=0.7, ties="up"), Arctan())
INTEGER = Rule(Dynamics(steps=2, levels=4, unit=0.25, retain=0.3), StraightThrough())


@pytest.fixture(scope="module")
def interpreted():
    """The module a second time, its kernels for the interpreter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec = importlib.util.spec_from_file_location("interpreted", triton_kernels.__file__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def check(module, rule: Rule, dtype: torch.dtype, neurons: int, start: bool, learned: bool) -> None:
    """Compares a neuron's spikes, membranes and gradients with those of the plain loops."""
    dynamics = rule.dynamics
    generator = torch.Generator().manual_seed(0)
    state = compute_dtype(dtype)

    def draw(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    current = draw(dynamics.steps, neurons) * 2
    ties = torch.arange(24) / 8 * dynamics.threshold
    current[0, :24] = ties[:neurons].to(dtype)
    membrane = draw(neurons, dtype=state) if start else None
    retain = torch.tensor(0.37, dtype=torch.float64) if learned else None
    share = dynamics.retain if retain is None else retain

    spikes, last = module.forward(current, membrane, retain, rule, start)
    expected, expected_last = run_forward(current.unbind(0), membrane, share, dynamics, start)
    assert torch.equal(spikes, torch.stack(expected))
    assert spikes.dtype == dtype
    assert last is expected_last is None or torch.equal(last, expected_last)

    grad, grad_last = draw(dynamics.steps, neurons), draw(neurons, dtype=state) if start else None
    got = module.backward(grad, grad_last, current, membrane, retain, rule)
    over_time, *others = run_backward(grad, grad_last, current, membrane, share, rule)
    bounds = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
    bound = bounds[dtype]
    for mine, reference in zip(got, [torch.stack(over_time), *others], strict=True):
        if reference is None:
            assert mine is None
        else:
            # A share's gradient is a sum over all neurons and grows with it.
            size = max(1.0, reference.abs().max().item()) * (neurons if reference.ndim == 0 else 1)
            torch.testing.assert_close(mine, reference, rtol=bound, atol=bound * size)


@settings(max_examples=30, deadline=None)
@given(rules(), st.sampled_from(DTYPES), st.booleans(), st.booleans())
def test_interpreter_gives_the_spikes_and_gradients_of_the_loops(
    interpreted, rule, dtype, start, learned
):
    check(interpreted, rule, dtype, 30, start, learned)


@pytest.mark.parametrize("rule", [HARD_LIF, SOFT_LIF, INTEGER], ids=["lif", "soft", "integer"])
def test_neurons_of_several_programs(interpreted, rule):
    check(interpreted, rule, torch.float64, 2100, True, True)
    empty = torch.zeros(rule.dynamics.steps, 0)
    assert interpreted.forward(empty, None, None, rule, False)[0].shape == empty.shape
    assert interpreted.backward(empty, None, empty, None, None, rule)[0].shape == empty.shape


def test_many_time_steps(interpreted):
    long = Rule(Dynamics(steps=17, offset=1.0, retain=0.9, ties="up"), Sigmoid())
    check(interpreted, long, torch.float32, 300, False, False)


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("ties", ["even", "up"])
def test_what_is_no_number_stays_none(interpreted, levels, ties):
    rule = Rule(Dynamics(levels=levels, ties=ties), StraightThrough())
    current = torch.tensor([[math.nan, math.inf, -math.inf, 1.0]])
    grad = torch.ones_like(current)
    spikes, _ = interpreted.forward(current, None, None, rule, False)
    expected, _ = run_forward(current.unbind(0), None, 0.5, rule.dynamics, False)
    torch.testing.assert_close(spikes, torch.stack(expected), rtol=0, atol=0, equal_nan=True)
    grads, _, _ = interpreted.backward(grad, None, current, None, None, rule)
    torch.testing.assert_close(grads[0], torch.tensor([0.0, 0.0, 0.0, 1.0]))


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_neuron_takes_the_kernels(interpreted, monkeypatch, channels_last):
    neuron = LIF(2, tau=1.5, learnable_tau=True)
    x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0)).double() * 2
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    results = []
    for kernels_for_devices in (None, interpreted):
        monkeypatch.setattr(kernels, "_triton", lambda *_, found=kernels_for_devices: found)
        current = x.clone().requires_grad_()
        neuron.zero_grad()
        # On a CPU this mode leaves the native kernels alone.
        with use_kernels("eager"):
            spikes = neuron(current)
            (spikes * x).sum().backward()
        results.append((spikes, current.grad, neuron.decay.grad.clone()))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert results[1][0].stride() == x.stride()


class Device:
    """As much of a CUDA device as Triton asks to compile for it."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return self.target.arch

    def get_current_stream(self, device):
        return 0


@pytest.mark.parametrize(("capability", "dtype"), [(80, torch.float32), (90, torch.bfloat16)])
@pytest.mark.parametrize("rule", [HARD_LIF, INTEGER], ids=["lif", "integer"])
def test_devices_round_every_operation_by_itself(monkeypatch, capability, dtype, rule):
    compiled = []
    run = triton.JITFunction.run

    def compile_only(kernel, *arguments, **options):
        compiled.append(run(kernel, *arguments, **{**options, "warmup": True}))

    monkeypatch.setattr(triton.JITFunction, "run", compile_only)
    monkeypatch.setattr(triton.runtime.driver, "_active", Device(capability))
    current, membrane = torch.zeros(rule.dynamics.steps, 64, dtype=dtype), torch.zeros(64)
    retain = torch.tensor(0.5, dtype=torch.float64)
    triton_kernels.forward(current, membrane, retain, rule, True)
    triton_kernels.backward(current, membrane, current, membrane, retain, rule)
    assert len(compiled) == 2
    for kernel in compiled:
        assert "FFMA" not in kernel.asm["sass"]
        assert "FMUL" in kernel.asm["sass"]
