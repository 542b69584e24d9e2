"""The native kernels against the plain loops: spikes bit for bit, gradients to the last places."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch._subclasses import FakeTensorMode

from spikesight.errors import UserError
from spikesight.native import library as native_library
from spikesight.neurons import create_neuron, native, use_kernels
from spikesight.neurons.dynamics import Dynamics
from spikesight.neurons.recurrence import Rule, compute_dtype, run_backward, run_forward
from spikesight.neurons.surrogate import Arctan, Rectangular, Sigmoid, StraightThrough

needs_kernels = pytest.mark.skipif(
    native_library.library() is None, reason="the native kernels were not built"
)
BINARY = Dynamics(levels=1, offset=1.0, ties="up")
FORMS = {
    "hard": replace(BINARY, reset="hard"),
    "soft": BINARY,
    "binary, above its level": Dynamics(levels=1),
    "rounded": Dynamics(levels=4),
    "rounded, unit": Dynamics(levels=4, unit=1 / 3),
    "rounded up": Dynamics(levels=4, ties="up"),
    "at the threshold": Dynamics(levels=16, offset=1.0, ties="up"),
}
SURROGATES = (
    Sigmoid(), Rectangular(), Arctan(), StraightThrough(), StraightThrough(closed=False)
)  # fmt: skip
TOLERANCE = {
    torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3
}  # fmt: skip


def values(*shape, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    flat = drawn.view(-1)
    special = torch.tensor([0.0, 0.5, 1.0, 1.5, 4.0, 4.5, 0.7, 0.35, 2.8], dtype=torch.float64)
    flat[: len(special)] = special
    return drawn.to(dtype)


def equal(a, b):
    return torch.equal(a.nan_to_num(nan=77.0), b.nan_to_num(nan=77.0))


@needs_kernels
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("steps", [1, 3, 4])
@pytest.mark.parametrize("form", list(FORMS))
def test_kernels_equal_the_plain_loops(form, steps, dtype):
    case = 0
    for threshold in (1.0, 0.7):
        for decay_input in (False, True):
            for surrogate in SURROGATES:
                for learned in (None, 0.3):
                    case += 1
                    dynamics = replace(
                        FORMS[form], steps=steps, threshold=threshold, decay_input=decay_input,
                        retain=0.5 if learned is None else learned,
                    )  # fmt: skip
                    rule = Rule(dynamics, surrogate, detach_reset=case % 2 == 0)
                    columns = 64 * (case % 3) + 37 * (case % 2) + 11
                    check(rule, columns, learned, case, dtype)


def check(rule, columns, learned, case, dtype):
    steps, wide = rule.dynamics.steps, compute_dtype(dtype)
    x = values(steps, columns, dtype=dtype, seed=case)
    v = values(columns, dtype=wide, seed=case + 1) if case % 3 else None
    want_state = case % 2 == 1
    share = rule.dynamics.retain
    retain = None if learned is None else torch.tensor(learned, dtype=torch.float64)
    with_bad = x.clone()
    with_bad[0, -3:] = torch.tensor([float("nan"), float("inf"), -float("inf")]).to(dtype)
    for current in (x, with_bad):
        spikes, state, _ = native.forward(current.view(-1), v, retain, rule, want_state)
        expected, last = run_forward(
            current.unbind(0), v, share if retain is None else retain, rule.dynamics, want_state
        )
        assert equal(spikes.view_as(x), torch.stack(expected))
        if want_state:
            assert equal(state, last)

    grad = values(steps, columns, dtype=dtype, seed=case + 2)
    grad_state = values(columns, dtype=wide, seed=case + 3) if want_state else None
    got = native.backward(grad.view(-1), grad_state, x.view(-1), v, retain, rule)
    grads, grad_v, grad_retain = run_backward(
        grad, grad_state, x, v, share if retain is None else retain, rule
    )
    tolerance = TOLERANCE[dtype]
    expected = torch.stack(grads).view(-1)
    torch.testing.assert_close(got[0], expected, rtol=tolerance, atol=tolerance)
    fine = min(tolerance, 2e-6)
    if v is not None:
        torch.testing.assert_close(got[1], grad_v, rtol=fine, atol=fine)
    if retain is not None:
        sums = 1e-12 if dtype == torch.float64 else 1e-4
        torch.testing.assert_close(got[2], grad_retain, rtol=sums, atol=sums)
    if v is None and not want_state and retain is None and native.keeps_mask(rule):
        again, _, mask = native.forward(x.view(-1), None, None, rule, False, want_mask=True)
        assert equal(again, native.forward(x.view(-1), None, None, rule, False)[0])
        masked, *_ = native.backward(grad.view(-1), None, None, None, None, rule, mask)
        assert torch.equal(masked, got[0])
        assert mask.numel() == -(-columns // 64) * 8


@needs_kernels
@pytest.mark.parametrize("name", ["lif", "i_lif", "learned"])
def test_any_number_of_threads_gives_the_same_bits(name):
    made = {"learned": ("lif", {"learnable_tau": True})}.get(name, (name, {}))
    neuron = create_neuron(made[0], steps=2, **made[1])
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            x = values(6, 70_001, dtype=torch.float32).requires_grad_()
            neuron.zero_grad()
            spikes = neuron(x)
            spikes.square().sum().backward()
            results.append((spikes, x.grad, *(p.grad.clone() for p in neuron.parameters())))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@needs_kernels
def test_an_integer_neuron_keeps_a_bit_an_element_and_others_their_input():
    kept = []
    x = values(4, 64, dtype=torch.float32).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel() * t.element_size()) or t, lambda t: t
    ):
        create_neuron("i_lif")(x)
        create_neuron("lif", steps=2)(x)
    assert kept == [4 * 64 // 8, 4 * 64 * 4]


def test_tensors_without_memory_go_another_way():
    neuron = create_neuron("lif", steps=2)
    with FakeTensorMode():
        assert neuron(torch.zeros(4, 64)).shape == (4, 64)
    assert neuron(torch.zeros(4, 64, device="meta")).shape == (4, 64)


@needs_kernels
def test_large_tensors_are_written_past_the_caches_alike():
    x = values(4, 1 << 19, dtype=torch.float32)
    for name in ("lif", "ni_lif"):
        neuron = create_neuron(name, steps=4 if name == "lif" else 1)
        grads = []
        for mode in ("native", "eager"):
            leaf = x.clone().requires_grad_()
            with use_kernels(mode):
                spikes = neuron(leaf)
                (spikes * x).sum().backward()
            grads.append((spikes, leaf.grad))
        assert torch.equal(grads[0][0], grads[1][0])
        torch.testing.assert_close(grads[0][1], grads[1][1])


@needs_kernels
@pytest.mark.parametrize("instruction_set", ["portable", "avx2", "off"])
def test_every_instruction_set_fires_alike(instruction_set):
    program = (
        "import torch; from spikesight.native.library import form;"
        "from spikesight.neurons import create_neuron; torch.manual_seed(0);"
        "x = torch.randn(4, 1003, requires_grad=True); n = create_neuron('lif', steps=4);"
        "s = n(x); (s * x.detach()).sum().backward();"
        "print(form().split()[0], int(s.sum()), round(x.grad.double().abs().sum().item(), 2))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"SPIKESIGHT_NATIVE": instruction_set},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    torch.manual_seed(0)
    x = torch.randn(4, 1003, requires_grad=True)
    spikes = create_neuron("lif", steps=4)(x)
    (spikes * x.detach()).sum().backward()
    assert said[0] == ("PyTorch's" if instruction_set == "off" else "native")
    assert int(said[1]) == int(spikes.sum())
    assert float(said[2]) == pytest.approx(x.grad.double().abs().sum().item(), abs=0.02)


def test_a_library_of_other_sources_is_told_and_not_used(monkeypatch):
    if native_library.library() is None:
        pytest.skip("the native kernels were not built")
    monkeypatch.setattr(native_library, "INTERFACE", -1)
    with pytest.warns(UserWarning, match="of another version"):
        assert native_library.library.__wrapped__() is None


def test_without_kernels_native_is_refused(monkeypatch):
    monkeypatch.setattr("spikesight.neurons.kernels.library", lambda: None)
    with pytest.raises(UserError, match="no native kernels here"):
        use_kernels("native")
