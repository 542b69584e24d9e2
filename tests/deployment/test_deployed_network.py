"""What a deployed network does besides computing: saving, exporting, timing, refusing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spikesight.commands.parser import main
from spikesight.deployment.network import Deployed
from tests.deployment.small_networks import deployed
from tests.deployment.test_segmenter_files import network


def test_saving_makes_the_folder(tmp_path: Path) -> None:
    net = Deployed(deployed(28, neuron="i_lif", levels=4))
    path = tmp_path / "not" / "there" / "net.spk"
    net.save(path)
    x = torch.rand(2, 3, 28, 28)
    assert torch.equal(Deployed.load(path)(x), net(x))


def test_several_outputs_are_not_one() -> None:
    net, x = network(), torch.rand(1, 3, 16, 24)
    with pytest.raises(ValueError, match=r"has 2 outputs.*; use outputs\(x\)"):
        net(x)
    with pytest.raises(ValueError, match=r"has 2 outputs.*; use spike_outputs\(x\)"):
        net.spikes(x)


def test_segmenters_are_timed_in_the_forms_they_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    path = tmp_path / "net.spk"
    network().save(path)
    assert main(["bench", str(path), "--rounds=1", "--threads=1"]) == 0
    shown = capsys.readouterr().out
    assert "without OpenVINO: " in shown
    assert all(form in shown for form in ("spikes", "integers ", "integers, onnxruntime"))


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_exports_of_frames_read_frames(suffix: str, tmp_path: Path) -> None:
    net = Deployed(deployed(32, neuron="lif", steps=4))
    net.save(tmp_path / "net.spk")
    output = tmp_path / f"net{suffix}"
    words = ["export", str(tmp_path / "net.spk"), str(output), "--size=[16,28]", "--frames"]
    assert main(words) == 0
    x = torch.rand(2, 4, 3, 16, 28) * 4 - 1
    logits = _run(output, x)
    assert torch.equal(logits, net(x))
    assert not torch.equal(logits, net(x.flip(1)))
    net.export(output, (16, 28))
    assert torch.equal(_run(output, x[:, 0]), net(x[:, 0]))


def _run(path: Path, x: torch.Tensor) -> torch.Tensor:
    if path.suffix == ".xml":
        pytest.importorskip("openvino")
        from spikesight.deployment.export.openvino import OpenVinoRuntime

        return OpenVinoRuntime(path, threads=1)(x)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(logits).to(torch.int32)
