"""What runs is proved: runtimes pass a self-test first, and fall back, with a word, where not."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.deployment.export.exactness import ExportError
from spikesight.deployment.export.exporting import export
from spikesight.deployment.export.self_test import SelfTest
from spikesight.deployment.runtime.integers import Counts, IntegerExecutor
from spikesight.errors import UserError
from tests.conftest import wake
from tests.deployment.small_networks import deployed

onnx = pytest.importorskip("onnx")
openvino = pytest.importorskip("openvino")

from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx  # noqa: E402
from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino  # noqa: E402

WRITERS: dict[type[Any], Any] = {OnnxRuntime: to_onnx, OpenVinoRuntime: to_openvino}
FORMS = {OnnxRuntime: ("optimised", "plain"), OpenVinoRuntime: ("int8", "float32")}
RUNTIMES = pytest.mark.parametrize("runtime", list(WRITERS))


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes some forms of a runtime give logits that are one too high."""

    def apply(runtime: type[Any], *forms: str, smallest_batch: int = 1) -> None:
        compute = runtime._compute

        def wrong(self: Any, x: Tensor) -> tuple[Counts, Tensor]:
            counts, logits = compute(self, x)
            is_wrong = self.form in forms and len(x) >= smallest_batch and not counts
            return counts, logits + int(is_wrong)

        monkeypatch.setattr(runtime, "_compute", wrong)

    return apply


def test_inputs_are_the_same_everywhere_and_reach_every_end() -> None:
    test = SelfTest((2, 3, 9, 7), -128, 127, 5, ("",) * 9)
    x = test.inputs() * 2**5
    assert x.shape == (9, 2, 3, 9, 7)
    assert x.dtype == torch.float32
    quarters = x.double().mul(4).long().flatten()
    assert quarters[::401].tolist() == [
        200,
        512,
        512,
        512,
        -12,
        -516,
        284,
        512,
        -516,
    ]
    assert float(x.min()) < -128
    assert float(x.max()) > 127
    ties = x - x.floor() == 0.5
    assert int(ties.sum()) > 100
    assert any(bool((one == one.max()).all()) for one in x)
    assert all(not torch.equal(x[0], other) for other in x[1:])


@RUNTIMES
def test_a_model_carries_it_and_an_observed_one_does_not(runtime: type[Any]) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    assert runtime(WRITERS[runtime](graph, (28, 28)))._described()[0] is not None
    observed = runtime(WRITERS[runtime](graph, (28, 28), observe=True))
    assert observed._described()[0] is None


@RUNTIMES
def test_a_form_that_differs_is_replaced(runtime: type[Any], spoil: Callable[..., None]) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    x = torch.rand(5, 3, 28, 28) * 4 - 1
    first, second = FORMS[runtime]
    model = WRITERS[runtime](graph, (28, 28))
    spoil(runtime, first)
    with pytest.warns(UserWarning, match=rf"{first} form .*threads=1, batch 1.* its {second} form"):
        running = runtime(model, threads=1)
    assert (running.form, running.fell_back) == (second, True)
    assert torch.equal(running(x), IntegerExecutor(graph)(x))
    with pytest.raises(ExportError, match=f"of the model in its {first} form"):
        runtime(model, fall_back=False)


@RUNTIMES
def test_every_batch_is_proved_before_it_is_answered(
    runtime: type[Any], spoil: Callable[..., None]
) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    x = torch.rand(5, 3, 28, 28) * 4 - 1
    first, second = FORMS[runtime]
    spoil(runtime, first, smallest_batch=5)
    running = runtime(WRITERS[runtime](graph, (28, 28)))
    assert torch.equal(running(x[:4]), IntegerExecutor(graph)(x[:4]))
    assert running.form == first
    with pytest.warns(UserWarning, match="batch 5"):
        logits = running(x)
    assert torch.equal(logits, IntegerExecutor(graph)(x))
    assert running.form == second


@RUNTIMES
def test_no_form_that_differs_answers(runtime: type[Any], spoil: Callable[..., None]) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    spoil(runtime, *FORMS[runtime])
    with (
        pytest.warns(UserWarning, match="runs instead"),
        pytest.raises(ExportError, match="run the deployed network in PyTorch"),
    ):
        runtime(WRITERS[runtime](graph, (28, 28)))


def test_a_plugin_that_is_wrong_for_one_shape(spoil: Callable[..., None]) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    spoil(OpenVinoRuntime, "int8", smallest_batch=3)
    model = to_openvino(graph, (28, 28))
    assert OpenVinoRuntime(model, shape=(2, 3, 28, 28)).form == "int8"
    with pytest.warns(UserWarning, match="batch 3"):
        assert OpenVinoRuntime(model, shape=(3, 3, 28, 28)).form == "float32"


def test_verify_counts_what_the_shipped_form_gets_wrong(
    spoil: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = ss.Deployed(deployed(28, neuron="i_lif", levels=4))
    x = torch.rand(2, 3, 28, 28) * 4 - 1
    sound = net.verify(x, against=("onnx", "openvino"))
    assert sound.equal
    assert sound.shipped == {"onnx": 0, "openvino": 0}
    assert sound.shipped_as == {"onnx": "optimised", "openvino": "int8"}
    assert "logits as shipped" in sound.table()
    for runtime in WRITERS:
        spoil(runtime, *FORMS[runtime])
        monkeypatch.setattr(runtime, "_prove", lambda *_: None)
    result = net.verify(x, against=("onnx", "openvino"))
    assert not result.equal
    assert result.logits == {"onnx": 0, "openvino": 0}
    assert result.shipped == {"onnx": 10, "openvino": 10}


def test_a_file_for_openvino_asks_for_no_int8_that_is_wrong_here(
    tmp_path: Path, spoil: Callable[..., None]
) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    spoil(OpenVinoRuntime, "int8")
    with pytest.warns(UserWarning, match=r"model\.xml is written for float32"):
        export(graph, tmp_path / "model.xml", (28, 28))
    running = OpenVinoRuntime(tmp_path / "model.xml")
    assert (running.form, running.fell_back) == ("float32", False)
    spoil(OpenVinoRuntime, "float32")
    with pytest.raises(ExportError, match="float32 form"):
        export(graph, tmp_path / "other.xml", (28, 28))
    spoil(OnnxRuntime, "optimised")
    with pytest.raises(ExportError, match="optimised form"):
        export(graph, tmp_path / "model.onnx", (28, 28))
    assert {file.name for file in tmp_path.iterdir()} == {"model.xml", "model.bin"}


@RUNTIMES
def test_files_of_before_and_damaged_ones(runtime: type[Any], tmp_path: Path) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    other = deployed(32, neuron="i_lif", levels=4)
    path = tmp_path / ("old.onnx" if runtime is OnnxRuntime else "old.xml")

    def write(text: str | None) -> None:
        model = WRITERS[runtime](graph, (28, 28), observe=text is None)
        if runtime is OnnxRuntime:
            for field in model.metadata_props:
                if field.key == "self_test":
                    field.value = text
            onnx.save(model, str(path))
        else:
            if text is not None:
                model.set_rt_info(text, ["spikesight", "self_test"])
            openvino.save_model(model, path, compress_to_fp16=False)

    write(None)
    with pytest.warns(UserWarning, match=rf"{path.name} carries no self-test"):
        runtime(path)
    for text in ("", "{}", "[1]", '{"shape": 3}', "[" * 10**5):
        write(text)
        with pytest.raises(UserError, match=rf"{path.name} is damaged; export it again"):
            runtime(path)
    write(SelfTest.of(other, (32, 32)).text())
    with pytest.raises(UserError, match=rf"{path.name} is that of another network"):
        runtime(path)


def test_segmenters_have_one_too() -> None:
    torch.manual_seed(0)
    model = ss.create_model("spike2former_nano", num_classes=3)
    x = torch.rand(2, 3, 32, 32)
    net = ss.deploy(wake(model, x), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        running = OnnxRuntime(to_onnx(net.graph, (32, 32)), threads=1)
    test = running._self_test
    assert test is not None
    assert len(set(test.answers)) > 3


_SIGNALS = """
import signal
from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino
from tests.deployment.small_networks import deployed

seen = []
model = to_openvino(deployed(16), (16, 16))
runtimes = [OpenVinoRuntime(model, threads=1) for _ in range(3)]
while runtimes:
    del runtimes[0]
blocks = [bytearray(1 << 16) for _ in range(100)]
signal.signal(signal.SIGTERM, lambda *_: seen.append("handled"))
signal.raise_signal(signal.SIGTERM)
print(*seen)
"""


def test_signals_are_handled_after_runtimes_are_gone() -> None:
    """OpenVINO's plugins put back each other's stacks for signal handlers."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALS], capture_output=True, text=True, cwd=root
    )
    assert (done.returncode, done.stdout.split()) == (0, ["handled"]), done.stderr
