"""Normalisation and neuron in one pass against the two modules."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn

import spikesight as ss
from spikesight.memory import low_memory
from spikesight.native.library import library
from spikesight.neurons import LIF, create_neuron, native_norm, use_kernels
from spikesight.neurons.native_norm import fire_normalised
from spikesight.passes import fused_kernels
from spikesight.synapses import native_pooling

pytestmark = pytest.mark.skipif(library() is None, reason="the native kernels were not built")

NEURONS = {
    "i_lif": partial(create_neuron, "i_lif"),
    "ni_lif": partial(create_neuron, "ni_lif", steps=2),
    "lif": partial(LIF, 4),
    "lif at one step": LIF,
    "soft": partial(
        LIF, 4, reset="soft", decay_input=False, detach_reset=False, surrogate="arctan"
    ),
    "hard, attached": partial(LIF, 3, threshold=0.7, detach_reset=False, surrogate="rectangular"),
}


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def normalisation(channels, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(channels)
    norm = nn.BatchNorm2d(channels, **options).to(dtype)
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=dtype) + 0.5)
    return norm


def inputs(neuron, channels, side, dtype=torch.float64):
    generator = torch.Generator().manual_seed(side)
    shape = (2 * neuron.steps, channels, side, side)
    return channels_last(torch.randn(shape, generator=generator, dtype=dtype) * 2 + 3)


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-9)).item()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", list(NEURONS))
def test_one_pass_equals_two_modules(name, training, monkeypatch):
    for channels, side in ((16, 5), (48, 12), (32, 33)):
        neuron = NEURONS[name]()
        results = []
        for fused in (True, False):
            norm = normalisation(channels).train(training)
            x = inputs(neuron, channels, side).requires_grad_()
            if fused:
                assert native_norm._serves(x, norm, neuron)
                spikes = fire_normalised(x, norm, neuron)
            else:
                spikes = neuron(norm(x))
            (spikes * x.detach().sin()).sum().backward()
            results.append((spikes, x.grad, norm.weight.grad, norm.bias.grad, norm.state_dict()))
        (spikes, *grads, state), (expected, *right, expected_state) = results
        assert torch.equal(spikes, expected)
        assert spikes.stride() == expected.stride()
        assert max(map(relative, grads, right)) < 1e-12
        for key, value in expected_state.items():
            assert relative(state[key].double(), value.double()) < 1e-13, key


@pytest.mark.parametrize("options", [{"affine": False}, {"momentum": None}])
def test_normalisations_of_other_kinds(options):
    neuron, results = LIF(2), []
    for fused in (True, False):
        norm = nn.BatchNorm2d(16, **options).double()
        for seed in (3, 4):
            x = inputs(neuron, 16, seed).requires_grad_()
            spikes = fire_normalised(x, norm, neuron) if fused else neuron(norm(x))
            spikes.square().sum().backward()
        results.append((spikes, x.grad, norm.running_mean, norm.running_var))
    assert torch.equal(results[0][0], results[1][0])
    assert max(map(relative, results[0][1:], results[1][1:])) < 1e-12


def test_what_the_kernels_cannot_do_goes_through_the_modules():
    neuron = LIF(2)
    norm = normalisation(16, torch.float32)
    x = inputs(neuron, 16, 6, torch.float32)
    assert native_norm._serves(x, norm, neuron)
    assert not native_norm._serves(x.contiguous(), norm, neuron)
    assert not native_norm._serves(x[:, :12], norm, neuron)
    assert not native_norm._serves(x, norm, LIF(2, learnable_tau=True))
    with use_kernels("eager"):
        assert not native_norm._serves(x, norm, neuron)
    norm.eval()
    with torch.no_grad():
        assert not native_norm._serves(x, norm, neuron)
        assert torch.equal(fire_normalised(x, norm, neuron), neuron(norm(x)))


@pytest.mark.parametrize("sizes", [(3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2)])
@pytest.mark.parametrize("kind", ["alone", "training", "frozen"])
def test_pooling_equals_the_modules(kind, sizes):
    pool = nn.MaxPool2d(*sizes)
    for channels, side in ((16, 9), (48, 16)):
        # Of small whole numbers, so that windows have several maxima.
        x0 = inputs(LIF(1), channels, side).round()
        results = []
        for fused in (True, False):
            norm = None if kind == "alone" else normalisation(channels).train(kind == "training")
            x = x0.clone().requires_grad_()
            if fused:
                assert native_pooling._serves(x, pool, norm)
                pooled = native_pooling.max_pool(x, pool, norm)
            else:
                pooled = pool(x if norm is None else norm(x))
            (pooled * pooled.detach().sin()).sum().backward()
            state = [] if norm is None else list(norm.state_dict().values())
            learned = [] if norm is None else [norm.weight.grad, norm.bias.grad]
            results.append((pooled, x.grad, *learned, *state))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        assert results[0][0].stride() == results[1][0].stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_pooling_of_other_dtypes_and_of_what_is_not_a_number(dtype):
    pool = nn.MaxPool2d(3, 2, 1)
    x = inputs(LIF(1), 32, 8).to(dtype)
    x[0, 0, 2, 2] = float("nan")
    x[0, 1] = -float("inf")
    results = []
    for function in (lambda x: native_pooling.max_pool(x, pool), pool):
        leaf = channels_last(x).requires_grad_()
        pooled = function(leaf)
        pooled.backward(torch.ones_like(pooled))
        results.append((pooled, leaf.grad))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a.nan_to_num(nan=99.0), b.nan_to_num(nan=99.0))


def gradients(model, images, fusion, memory="normal"):
    model.zero_grad()
    torch.manual_seed(0)
    with fusion, low_memory(model, memory):
        loss = model(images).square().sum()
    loss.backward()
    return loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", ["spikformer_nano", "metaspikformer_nano", "spikformer_v2_nano"])
def test_models_learn_alike(name):
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=3).double().train()
    model.to(memory_format=torch.channels_last)
    images = channels_last(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    fusion = fused_kernels(model)
    assert len(fusion.pairs) > 3
    before = copy.deepcopy(model.state_dict())
    loss, grads = gradients(model, images, torch.enable_grad())
    learned = copy.deepcopy(model.state_dict())
    model.load_state_dict(before)
    fused_loss, fused = gradients(model, images, fusion)
    torch.testing.assert_close(fused_loss, loss, rtol=1e-11, atol=1e-11)
    for a, b in zip(fused, grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, learned[key], rtol=1e-11, atol=1e-11)
    assert not any("forward" in module.__dict__ for module in model.modules())
    for memory in ("low", "lowest"):
        model.load_state_dict(before)
        _, again = gradients(model, images, fusion, memory)
        assert all(map(torch.equal, again, fused))


def test_a_copy_of_a_fused_model_has_its_own_modules():
    model = ss.create_model("spikformer_nano", num_classes=3).train()
    model.to(memory_format=torch.channels_last)
    images = channels_last(torch.randn(2, 3, 32, 32))
    with fused_kernels(model):
        twin = copy.deepcopy(model)
        twin(images).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in twin.parameters() if p.requires_grad)


def test_a_normalisation_that_computes_otherwise_is_left_alone():
    model = ss.create_model("spikformer_nano", num_classes=3)
    synapse, reader = fused_kernels(model).pairs[0]
    norm = model.get_submodule(synapse)[-1]
    object.__setattr__(norm, "forward", partial(nn.BatchNorm2d.forward, norm))
    assert (synapse, reader) not in fused_kernels(model).pairs


def test_a_current_that_is_read_twice_is_stored():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.presentation = ss.Presentation(1, 3, 1)
            self.first = ss.ConvNorm(3, 16, 3)
            self.neuron = create_neuron("i_lif")
            self.second = ss.ConvNorm(16, 16, 3)
            self.last = create_neuron("i_lif")
            self.third = ss.ConvNorm(16, 16, 3)
            self.readout = ss.Readout(1)

        def forward(self, x):
            current = self.first(self.presentation(x))
            current = current + self.second(self.neuron(current))
            return self.readout(self.third(self.last(current)))

    assert fused_kernels(Both()).pairs == ()
    assert fused_kernels(nn.Linear(2, 2)).pairs == ()
