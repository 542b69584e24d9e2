from pathlib import Path

import pytest
import torch

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.deployment.ann_runtime import compile_ann, convert_ann, in_pytorch, twin_forms
from spikesight.errors import UserError
from spikesight.models.outputs import tensors_of

pytest.importorskip("openvino")


def test_a_converted_twin_computes_what_it_does_in_pytorch() -> None:
    torch.manual_seed(0)
    twin = ss.create_model("spike_fpn_nano", num_classes=5, neuron="relu").eval()
    x = torch.randn(1, 3, 64, 64)
    results = compile_ann(convert_ann(twin, x), threads=1)(x)
    (expected,) = tensors_of(in_pytorch(twin)(x))
    (logits,) = (torch.from_numpy(value) for value in results.values())  # type: ignore[attr-defined]
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_a_spiking_model_is_no_twin() -> None:
    model = ss.create_model("spike_fpn_nano", num_classes=5)
    with pytest.raises(UserError, match="no ANN; pass a run that was trained with"):
        twin_forms(model, torch.randn(1, 3, 64, 64), threads=1)


def test_bench_times_a_network_its_model_and_its_twin_at_any_size_up_to_its_largest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}
    for neuron in ("i_lif", "relu"):
        torch.manual_seed(0)
        model = ss.create_model("metaspikformer_nano", num_classes=3, neuron=neuron, **small)
        model.eval().save_pretrained(tmp_path / neuron)
        if neuron == "i_lif":
            ss.deploy(model, torch.randn(2, 3, 64, 96)).save(tmp_path / "net.spk")
    words = ["bench", str(tmp_path / "net.spk"), "--rounds=1", "--threads=1"]
    others = [f"--run={tmp_path / 'i_lif'}", f"--twin={tmp_path / 'relu'}"]
    assert main([*words, "--size=32", *others]) == 0
    said = capsys.readouterr().out
    for form in ("spikes", "integers", "trained, PyTorch (float32)", "twin, OpenVINO (float32)"):
        assert form in said
    assert "batch 1 of 32x32 pixels" in said
    assert "every form equals the integers in all logits, the trained model" in said
    assert main([*words, "--simulate=false"]) == 0
    said = capsys.readouterr().out
    assert "spikes" not in said
    assert "batch 1 of 96x64 pixels" in said
    assert main([*words, "--size=128"]) == 2
    assert "--max-size=[128,128]" in capsys.readouterr().err
    assert main([*words, f"--twin={tmp_path / 'i_lif'}"]) == 2
    assert "so it is no ANN" in capsys.readouterr().err
