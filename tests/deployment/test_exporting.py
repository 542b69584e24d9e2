"""`export` writes what the runtimes read, and nothing that differs from the network."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.deployment.export.exactness import ExportError
from spikesight.deployment.export.exporting import export
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.graph import integer_vocabulary as integer
from tests.deployment.small_networks import deployed

pytest.importorskip("onnx")
pytest.importorskip("openvino")

from spikesight.deployment.export.onnx import OnnxRuntime
from spikesight.deployment.export.openvino import OpenVinoRuntime


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_export_writes_what_the_runtime_reads(suffix: str, tmp_path: Path) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    path = export(graph, tmp_path / "new" / f"model{suffix}", (28, 28))
    written = {file.name for file in path.parent.iterdir()}
    assert written == {path.name} | ({"model.bin"} if suffix == ".xml" else set())
    runtime = OnnxRuntime(path) if suffix == ".onnx" else OpenVinoRuntime(path)
    x = torch.rand(2, 3, 28, 28) * 4 - 1
    assert torch.equal(runtime(x), IntegerExecutor(graph)(x))


def test_export_refuses_what_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    with pytest.raises(ValueError, match=r"model\.tflite.*\.onnx, \.xml, \.nir"):
        export(graph, tmp_path / "model.tflite", (28, 28))
    with pytest.raises(ValueError, match=r"30x28 is not divisible by .* 4"):
        export(graph, tmp_path / "model.onnx", (30, 28))
    with pytest.raises(ValueError, match="larger than the 28x28"):
        export(graph, tmp_path / "model.xml", (32, 32))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "openvino", None)
        with pytest.raises(ImportError, match=r"openvino; pip install 'spikesight\[deploy\]'"):
            export(graph, tmp_path / "model.xml", (28, 28))


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_export_writes_nothing_that_differs(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    name = "trunk.1.1.mixer.neuron2"
    neuron = graph.by_name[name]
    assert isinstance(neuron, integer.Neuron)
    assert neuron.rounding is not None
    form = replace(neuron.rounding, offset=neuron.rounding.offset + 2.0**-6)
    nodes = tuple(replace(n, rounding=form) if n is neuron else n for n in graph.nodes)
    for target in ("onnx.to_onnx", "openvino.to_openvino"):
        module, function = (f"spikesight.deployment.export.{target}").rsplit(".", 1)
        original = getattr(sys.modules[module], function)

        def wrong(_: integer.Graph, *args: Any, original: Any = original, **options: Any) -> Any:
            return original(replace(graph, nodes=nodes), *args, **options)

        monkeypatch.setattr(sys.modules[module], function, wrong)
    with pytest.raises(ExportError, match=rf"counts of {name} differently"):
        export(graph, tmp_path / f"model{suffix}", (28, 28))
    assert list(tmp_path.iterdir()) == []
