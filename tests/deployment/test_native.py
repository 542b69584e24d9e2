"""libspk computes the integers of the network, whatever its kernels, threads and batch."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.deployment.runtime import native
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.errors import MissingPackageError, UserError
from spikesight.native import library, spk
from tests.conftest import wake
from tests.deployment.native_forms import native_differences, needs_libspk
from tests.deployment.random_graphs import is_a_file, random_graph, with_own_gains
from tests.registered_models import NANO

pytestmark = needs_libspk


def _deployed(name: str = "metaspikformer_nano", **options: Any) -> tuple[ss.Deployed, Tensor]:
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=5, in_channels=2, **options)
    x = torch.randn(3, 2, 16, 24) * 2
    wake(model, x)
    return ss.deploy(model, x), x


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("levels", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("name", ["metaspikformer_nano", "spikformer_nano"])
def test_every_kernel_counts_alike(name: str, levels: int, steps: int) -> None:
    net, x = _deployed(name, neuron="i_lif", levels=levels, steps=steps)
    assert native_differences(net.graph, x) == {}


@pytest.mark.parametrize("neuron", ["lif", "ni_lif", "ie_lif", "qsd_classification"])
def test_every_neuron_counts_alike(neuron: str) -> None:
    net, x = _deployed(neuron=neuron, steps=3)
    frames = torch.randn(3, 3, 2, 16, 24) * 2
    assert native_differences(net.graph, x) == {}
    assert native_differences(net.graph, frames) == {}


@pytest.mark.parametrize("name", NANO)
def test_every_model_counts_alike(name: str) -> None:
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=5)
    x = torch.rand(3, 3, 32, 64) * 3
    wake(model, x)
    assert native_differences(ss.deploy(model, x).graph, x) == {}


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_count_alike(bits: int) -> None:
    torch.manual_seed(0)
    model = ss.create_model("metaspikformer_nano", num_classes=5)
    x = torch.rand(3, 3, 32, 32) * 3
    ss.quantize(model, bits)
    wake(model, x)
    assert native_differences(ss.deploy(model, x).graph, x) == {}


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_drawn_graphs_count_alike(first: int) -> None:
    _compare_drawn(first, 10)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(10_000, 12_000, 100))
def test_many_drawn_graphs_count_alike(first: int) -> None:
    _compare_drawn(first, 100)


def _compare_drawn(first: int, count: int) -> None:
    compared = 0
    for seed in range(first, first + count):
        drawn = random_graph(seed)
        if drawn is None or not is_a_file(graph := with_own_gains(drawn)):
            continue
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(3, graph.input.channels, *graph.max_size, generator=generator) * 3
        assert native_differences(graph, x) == {}, f"seed {seed}"
        compared += 1
    assert compared > count // 2


def test_smaller_images_and_other_batches() -> None:
    net, x = _deployed()
    for height, width in ((8, 24), (16, 8), (8, 8)):
        for batch in (1, 2, 3):
            image = x[:batch, :, :height, :width]
            assert torch.equal(net.native(image), net(image))


def test_verify_says_what_ships() -> None:
    net, x = _deployed()
    result = net.verify(x, against=("native", "spikes"))
    assert result.equal, result.table()
    assert result.shipped_as == {"native": spk.kernels()[0]}
    assert f"libspk ships as {spk.kernels()[0]}" in result.table()


def test_verify_counts_what_differs_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = _deployed()
    other = copy.deepcopy(net.graph)
    node = next(n for n in other.neurons if n.rounding is not None)
    node.thresholds.sub_(5)
    object.__setattr__(node, "rounding", None)
    encode = native.encode_spk
    monkeypatch.setattr(native, "encode_spk", lambda _: encode(other))
    result = net.verify(x, against=("native",))
    wrong = {layer.name for layer in result.layers if layer.mismatches["native"]}
    assert next(layer.name for layer in result.layers if layer.name in wrong) == node.name
    assert not result.equal
    # Who runs it is told, and gets the integers or nothing.
    told = pytest.warns(UserWarning, match=rf"first in {node.name} .* kernels run instead, slower")
    with told, pytest.raises(UserError, match="run the network in PyTorch"):
        net.native(x)


def test_a_network_that_changes_is_run_as_it_is_now() -> None:
    net, x = _deployed()
    before = net.native(x)
    net.calibrate([x / 2])
    assert torch.equal(net.native(x), net(x))
    assert not torch.equal(net.native(x), before)


def test_it_is_copied_and_pickled_without_its_runtime() -> None:
    net, x = _deployed()
    expected = net.native(x)
    net.training = None
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other.native(x), expected)


def test_threads_of_python_take_turns() -> None:
    net, x = _deployed()
    expected = net(x)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(logits, expected) for logits in pool.map(net.native, [x] * 16))


def test_inputs_of_other_types_and_strides() -> None:
    net, x = _deployed()
    expected = net(x)
    assert torch.equal(net.native(x.double()), expected)
    assert torch.equal(net.native(x.contiguous(memory_format=torch.channels_last)), expected)


def test_several_outputs() -> None:
    torch.manual_seed(0)
    model = ss.create_model("spike2former_nano", num_classes=5)
    x = torch.rand(2, 3, 32, 48)
    net = ss.deploy(wake(model, x), x)
    for own, other in zip(net.native_outputs(x), net.outputs(x), strict=True):
        assert torch.equal(own, other)
    with pytest.raises(UserError, match=r"2 outputs.*native_outputs\(x\)"):
        net.native(x)


def test_mistakes() -> None:
    net, x = _deployed()
    with pytest.raises(UserError, match="stride"):
        net.native(x[..., :15])
    with pytest.raises(UserError, match="no kernels 'none'"):
        NativeRuntime(net.graph, kernels="none")
    with pytest.raises(UserError, match='no form "spares"'):
        NativeRuntime(net.graph, form="spares")(x)
    runtime = NativeRuntime(net.graph, prove=False)
    with pytest.raises(UserError, match="not divisible by the stride"):
        runtime(x[..., :15])
    with pytest.raises(UserError, match="NaN or infinity"):
        runtime(x / 0)
    with pytest.raises(UserError, match="a batch of 0 images"):
        runtime(x[:0])


def test_without_the_library_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = _deployed()
    monkeypatch.setattr(spk, "library", lambda: None)
    for call in (net.native, lambda x: net.verify(x, against=("native",))):
        with pytest.raises(MissingPackageError, match=r"libspk was not built; install spikesight"):
            call(x)
    monkeypatch.setenv("SPIKESIGHT_NATIVE", "off")
    with pytest.raises(MissingPackageError, match="switched off by SPIKESIGHT_NATIVE=off"):
        net.native(x)


def test_one_switch_turns_both_libraries_off() -> None:
    program = (
        "from spikesight.native import library, spk;"
        "print(library.library() is None, spk.library() is None, spk.kernels())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"SPIKESIGHT_NATIVE": "off"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == "True True []\n"


def test_a_library_of_other_sources_is_told_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spk, "INTERFACE", -1)
    with pytest.warns(UserWarning, match=rf"{library.file_name('spk')} is of another version"):
        assert spk.library.__wrapped__() is None
