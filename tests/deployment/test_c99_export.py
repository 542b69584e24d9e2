"""A network as C99 computes every integer of the integer network, without undefined behaviour."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.data.photos.augmentation import normalize
from spikesight.deployment.export.c99 import compiled
from spikesight.deployment.export.c99.golden import write_golden
from spikesight.deployment.export.c99.layers import layers_of
from spikesight.deployment.export.c99.source import function_prefix, to_c99
from spikesight.deployment.export.exactness import ExportError
from spikesight.deployment.export.preparation import Preparation
from spikesight.deployment.export.self_test import SelfTest
from spikesight.deployment.runtime.arithmetic import quantise_image
from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from tests.conftest import wake
from tests.deployment.gated_networks import GatedNetwork
from tests.deployment.random_graphs import random_graph

COMPILER = shutil.which("gcc") or shutil.which("clang")
STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion"]
SANITIZERS = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"]

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


def build(source: Path, program: Path, *options: str) -> None:
    assert COMPILER is not None
    command = [COMPILER, *STRICT, *options, str(source), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


def require_equal(graph: integer.Graph, x: Tensor, folder: Path) -> str:
    """Writes a network, compiles it with every check and compares all its layers on inputs."""
    layers = layers_of(graph, (x.shape[-2], x.shape[-1]))
    source, golden = folder / "net.c", folder / "net.golden"
    source.write_text(to_c99(graph, layers, frames=x.ndim == 5), encoding="ascii")
    golden.mkdir()
    write_golden(graph, layers, x, {golden: range(len(x))})
    build(source, folder / "check", "-DSPK_MAIN", *SANITIZERS)
    run = subprocess.run([folder / "check", golden], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    last = run.stdout.splitlines()[-1]
    assert last.startswith("0 of ")
    assert last.endswith(f" of {len(x)} inputs differ")
    return source.read_text(encoding="ascii")


def gated(steps: int, levels: int, form: Any = "mask", neuron: str = "i_lif") -> ss.Deployed:
    torch.manual_seed(steps * levels)
    model = GatedNetwork(form, neuron=neuron, steps=steps, levels=levels)
    x = torch.rand(4, 3, 8, 8) * 3
    return ss.deploy(wake(model, x), x)


@needs_compiler
@pytest.mark.parametrize("levels", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_every_integer_is_equal(steps: int, levels: int, tmp_path: Path) -> None:
    neuron = "lif" if levels == 1 else ("ni_lif", "i_lif")[levels == 4]
    form = {1: "mask", 2: "token", 4: "channel"}[steps]
    x = torch.rand(2, 3, 8, 8) * 4 - 1
    require_equal(gated(steps, levels, form, neuron).graph, x, tmp_path)


@needs_compiler
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 7, 8])
def test_drawn_graphs(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    assert graph is not None
    x = torch.randn(3, graph.input.channels, *graph.max_size) * 3
    require_equal(graph, x, tmp_path)


@needs_compiler
@pytest.mark.nightly
@pytest.mark.parametrize("first", range(20_000, 20_400, 40))
def test_many_drawn_graphs(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 40):
        if (graph := random_graph(seed)) is not None:
            (folder := tmp_path / str(seed)).mkdir()
            x = torch.randn(3, graph.input.channels, *graph.max_size) * 3
            require_equal(graph, x, folder)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "steps", "frames"),
    [("spike2former_nano", 2, True), ("spike_fpn_nano", 1, False)],
)
def test_segmenters(name: str, steps: int, frames: bool, tmp_path: Path) -> None:
    model = ss.create_model(name, num_classes=3, steps=steps)
    shape = (1, steps, 3, 32, 64) if frames else (1, 3, 32, 64)
    x = torch.rand(shape)
    net = ss.deploy(wake(model, x), x)
    text = require_equal(net.graph, x, tmp_path)
    assert len(net.graph.outputs) == text.count("int32_t *output_")


@needs_compiler
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_of_few_bits_take_half_a_byte(bits: int, tmp_path: Path) -> None:
    graph = _corner_cases(bits)
    text = require_equal(graph, torch.randn(3, 3, 5, 4) * 3, tmp_path)
    assert f"weights of {bits} bits [3][3][C_in][C_out / groups], two to a byte" in text
    assert "static const int8_t weights_1[81];" in text


@needs_compiler
def test_what_no_model_has(tmp_path: Path) -> None:
    text = require_equal(_corner_cases(8), torch.randn(3, 3, 5, 4) * 3, tmp_path)
    assert '"000_trick__________.hex"' in text
    assert "trick *" not in text


def _corner_cases(bits: int) -> integer.Graph:
    """Odd channels, groups, far thresholds, 255 levels, an integer input of 16 bits, bad names."""
    largest = 2 ** (bits - 1) - 1
    generator = torch.Generator().manual_seed(bits)

    def weight(*shape: int) -> Tensor:
        drawn = torch.randint(-largest - 1, largest + 1, shape, generator=generator)
        return drawn.to(torch.int8)

    def synapse(name: str, source: str, weight: Tensor, **changes: Any) -> integer.Synapse:
        outputs = len(weight)
        fields = {"bits": bits, "stride": 1, "padding": 1, "groups": 1} | changes
        shift = torch.arange(outputs) % 5 - 3
        bias = torch.arange(outputs) * 3 - 4
        return integer.Synapse(name, (source,), weight=weight, shift=shift, bias=bias, **fields)

    def neuron(name: str, source: str, thresholds: Tensor) -> integer.Neuron:
        zero = torch.zeros(1, dtype=torch.int64)
        return integer.Neuron(
            name,
            (source,),
            1,
            thresholds.shape[1],
            thresholds,
            zero,
            zero,
            0,
            integer.Leak("none"),
            "hard",
            per_pixel=False,
        )

    far = torch.tensor([[-(2**53), 5, 2**53]]).expand(6, 3)
    fine = torch.arange(1, 256)[None]
    nodes = (
        integer.Input('trick */ "\\ ??/', (), 1, 3, 1, 6, -200, 200),
        synapse("conv", 'trick */ "\\ ??/', weight(6, 3, 3, 3)),
        neuron("far", "conv", far),
        synapse("groups", "far", weight(9, 2, 3, 3), groups=3),
        neuron("fine", "groups", fine),
        synapse("odd", "fine", weight(9, 9, 1, 1), padding=0),
        integer.Add("twice", ("odd", "odd")),
        neuron("again", "twice", fine * 7),
        integer.Add("more", ("again", "fine")),
        integer.MaxPool("maximum", ("odd",), 3, 1, 1),
        neuron("most", "maximum", fine * 3),
        integer.Attention("attention", ("more", "most", "again"), 3),
        neuron("attended", "attention", fine * 10**6),
        integer.Gate("gate", ("attended", "again")),
        integer.Pool("pool", ("gate",)),
        synapse("matrix", "pool", weight(5, 9), padding=0),
        integer.Output("out", ("matrix",), 1, 1.0),
    )
    return integer.Graph(nodes, (5, 4))


def _drawn_synapse(name: str, outputs: int) -> integer.Synapse:
    generator = torch.Generator().manual_seed(outputs)
    weight = torch.randint(-100, 100, (outputs, 2, 3, 3), generator=generator)
    nothing = torch.zeros(outputs, dtype=torch.int64)
    return integer.Synapse(name, ("image",), weight.to(torch.int8), 8, 1, 1, 1, nothing, nothing)


@needs_compiler
def test_sampling_with_offsets_coarser_and_finer_than_positions(tmp_path: Path) -> None:
    for offset_shift, position_bits in ((0, 4), (6, 2), (3, 3), (1, 0)):
        (folder := tmp_path / f"{offset_shift}").mkdir()
        zero = torch.zeros(1, dtype=torch.int64)
        thresholds = torch.tensor([[0, 30, 60]])
        graph = integer.Graph(
            (
                integer.Input("image", (), 1, 2, 1, 2, -8, 7),
                _drawn_synapse("value", 4),
                _drawn_synapse("offset", 36),
                _drawn_synapse("current", 18),
                integer.Neuron(
                    "weight",
                    ("current",),
                    1,
                    3,
                    thresholds,
                    zero,
                    zero,
                    0,
                    integer.Leak("none"),
                    "soft",
                    per_pixel=False,
                ),
                integer.Sample(
                    "sample", ("value", "offset", "weight"), 2, 3, offset_shift, position_bits
                ),
                integer.Pool("pool", ("sample",)),
                integer.Output("out", ("pool",), 1, 1.0),
            ),
            (6, 5),
        )
        require_equal(graph, torch.randn(2, 2, 6, 5), folder)


@needs_compiler
def test_time_step_by_time_step(tmp_path: Path) -> None:
    net = gated(3, 4, neuron="i_lif")
    frames = torch.rand(1, 3, 3, 8, 8) * 3
    layers = layers_of(net.graph, (8, 8))
    source = tmp_path / "net.c"
    source.write_text(to_c99(net.graph, layers, frames=True), encoding="ascii")
    build(source, tmp_path / "net.so", "-shared", "-fPIC")
    library = ctypes.CDLL(str(tmp_path / "net.so"))
    image = net.graph.input
    integers = (frames * 2.0**image.shift).round().clamp(image.low, image.high)
    inputs = np.ascontiguousarray(integers[0].permute(0, 2, 3, 1).numpy().astype(np.int8))
    logits = np.full(5, 7, np.int32)
    for _ in range(2):
        library.net_run(ctypes.c_void_p(inputs.ctypes.data), ctypes.c_void_p(logits.ctypes.data))
        assert logits.tolist() == net(frames)[0].tolist()
    logits[:] = 0
    library.net_reset()
    for frame in inputs:
        library.net_step(ctypes.c_void_p(frame.ctypes.data), ctypes.c_void_p(logits.ctypes.data))
    assert logits.tolist() == net(frames)[0].tolist()


@needs_compiler
def test_a_photo_becomes_an_input_without_floating_point(tmp_path: Path) -> None:
    net = gated(1, 2)
    mean, std = (0.5, 0.25, 0.3), (0.2, 0.26, 0.31)
    card = json.dumps({"preprocessing": {"mean": mean, "std": std}})
    source = tmp_path / "net.c"
    layers = layers_of(net.graph, (8, 8))
    source.write_text(to_c99(net.graph, layers, card=card), encoding="ascii")
    build(source, tmp_path / "net.so", "-shared", "-fPIC")
    library = ctypes.CDLL(str(tmp_path / "net.so"))
    photo = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    given = np.ascontiguousarray(photo[0].permute(1, 2, 0).numpy())
    integers, logits = np.zeros(given.shape, np.int8), np.zeros(5, np.int32)
    places = [ctypes.c_void_p(array.ctypes.data) for array in (given, integers, logits)]
    library.net_prepare(*places[:2])
    library.net_run(*places[1:])
    x = normalize(photo, mean, std)
    expected = quantise_image(net.graph.input, x)[0].permute(1, 2, 0)
    assert integers.tolist() == expected.tolist()
    assert logits.tolist() == net(x)[0].tolist()


@pytest.mark.parametrize(
    "said",
    [
        {"mean": [0.5, 0.5, 0.5], "std": [0.0, 1, 1]},
        {"mean": ["*/", 1, 1], "std": [1, 1, 1]},
        {"mean": [float("nan"), 1, 1], "std": [1, 1, 1]},
        {"mean": 3, "std": [1]},
        {"mean": [0.5], "std": [0.5, 0.5]},
        [],
    ],
)
def test_what_a_card_may_not_say_is_left_out(said: Any) -> None:
    assert Preparation.read(json.dumps({"preprocessing": said})) is None
    assert Preparation.read("[" * 100_000) is None


@needs_compiler
def test_declarations_and_observer_serve_another_file(tmp_path: Path) -> None:
    net = gated(1, 4)
    layers = layers_of(net.graph, (8, 8))
    (tmp_path / "tiny.c").write_text(to_c99(net.graph, layers, "tiny"), encoding="ascii")
    caller = tmp_path / "caller.c"
    caller.write_text(
        "#define SPK_DECLARATIONS\n"
        '#include "tiny.c"\n'
        "static int32_t calls;\n"
        "void tiny_observe(int32_t layer, int32_t index, int32_t value)\n"
        "{\n    calls += layer >= 0 && index >= 0 && value > INT32_MIN;\n}\n"
        "int main(void)\n"
        "{\n    static int8_t input[TINY_INPUTS];\n    int32_t logits[TINY_LOGITS];\n"
        "    tiny_run(input, logits);\n"
        f"    return calls != {sum(layer.elements for layer in layers.values()) - 3 * 64};\n}}\n",
        encoding="ascii",
    )
    build(caller, tmp_path / "caller", "-DSPK_OBSERVE", str(tmp_path / "tiny.c"), *SANITIZERS)
    assert subprocess.run([tmp_path / "caller"], check=False).returncode == 0


@needs_compiler
def test_the_page_shows_c_that_compiles(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "c99.md"
    (shown,) = re.findall(r"^```c\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    (tmp_path / "caller.c").write_text(shown, encoding="utf-8")
    graph = gated(1, 1).graph
    (tmp_path / "net.c").write_text(to_c99(graph, layers_of(graph, (8, 8))), encoding="ascii")
    build(tmp_path / "caller.c", tmp_path / "caller.so", "-shared", "-fPIC")


@needs_compiler
def test_export_writes_what_it_has_compared(tmp_path: Path) -> None:
    net = gated(1, 2)
    net.card = '{"preprocessing": {"mean": [0.5], "std": [0.25], "classes": ["a */ b", "c"]}}'
    path = net.export(tmp_path / "7 net.c", (4, 8))
    text = path.read_text(encoding="ascii")
    assert "classes     a __ b, c" in text
    assert "void net_7_net_run(const int8_t *input, int32_t *logits);" in text
    assert {file.suffix for file in (tmp_path / "7 net.golden").iterdir()} == {".hex"}
    again = net.export(path, (4, 8))
    assert again.read_text(encoding="ascii") == text
    written = ["7 net.c", "7 net.c.json", "7 net.golden"]
    assert sorted(file.name for file in tmp_path.iterdir()) == written
    (tmp_path / "7 net.golden" / "mine.txt").touch()
    with pytest.raises(UserError, match="holds other files"):
        net.export(path, (4, 8))


@needs_compiler
def test_a_file_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = gated(1, 2)
    changed = replace(net.graph.nodes[1], bias=net.graph.nodes[1].bias + 2**12)  # type: ignore
    wrong = replace(net.graph, nodes=(net.graph.nodes[0], changed, *net.graph.nodes[2:]))
    monkeypatch.setattr(
        "spikesight.deployment.export.c99.source.to_c99",
        lambda graph, layers, stem, **options: to_c99(wrong, layers, stem, **options),
    )
    with pytest.raises(ExportError, match=r"integers of 001_stem"):
        net.export(tmp_path / "net.c")
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "find_compiler", lambda: None)
    with pytest.warns(UserWarning, match="no C compiler here"):
        gated(1, 1).export(tmp_path / "net.c")
    assert (tmp_path / "net.c").exists()


def test_a_compiler_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m32")
    with pytest.raises(ExportError, match="no-such-compiler cannot be run"):
        gated(1, 1).export(tmp_path / "net.c")


def test_functions_have_names_that_c_allows() -> None:
    assert function_prefix("net") == "net"
    assert function_prefix("CIFAR-10 tiny") == "cifar_10_tiny"
    assert function_prefix("4bit") == "net_4bit"
    assert function_prefix("é") == "net__"


def test_memory_is_shared_and_never_by_two_at_once() -> None:
    from spikesight.deployment.export.c99.buffers import plan_memory
    from spikesight.deployment.export.c99.stages import stages_of

    graph = gated(2, 4).graph
    layers = layers_of(graph, (8, 8))
    memory = plan_memory(stages_of(graph, layers), layers)
    buffers = [*memory.of_values.values(), *memory.of_contexts.values()]
    distinct = {id(buffer): buffer for buffer in buffers}.values()
    for one in distinct:
        for other in distinct:
            if one is not other and one.type == other.type:
                apart = one.last < other.first or other.last < one.first
                apart |= one.offset + one.elements <= other.offset
                assert apart or other.offset + other.elements <= one.offset
    assert memory.bytes < sum(layer.elements * layer.type.bytes for layer in layers.values())


def test_inputs_are_those_of_the_self_test() -> None:
    graph = gated(1, 1).graph
    alone = SelfTest.unanswered(graph, (8, 8), frames=False)
    assert torch.equal(alone.inputs(), SelfTest.of(graph, (8, 8)).inputs())
