from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import spikesight as ss
from spikesight.passes.quantization import packed_bytes
from spikesight.synapses import PackedSynapse, QuantizedSynapse
from spikesight.synapses.bit_packing import packed_length
from tests.conftest import wake

OPTIONS: list[dict[str, Any]] = [
    {"mprf": True, "neuron": "ie_lif"},
    {"rep_conv": "spike_driven", "layer_scale": 0.3},
    {"separable": "official", "neuron": "ni_lif"},
]


def _quantised(bits: int, **options: Any) -> tuple[ss.SpikingModel, torch.Tensor]:
    model = ss.create_model("metaspikformer_nano", num_classes=5, **options)
    x = torch.rand(2, 3, 32, 32) * 3
    wake(model, x)
    return ss.quantize(model, bits).eval(), x


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_packed_model_is_small_and_the_same(
    bits: int, options: dict[str, Any], tmp_path: Path
) -> None:
    model, x = _quantised(bits, **options)
    plain = packed_bytes(ss.create_model("metaspikformer_nano", num_classes=5, **options), bits)
    model.save_pretrained(tmp_path / "packed", packed=True)
    file = tmp_path / "packed" / "model.safetensors"
    loaded = ss.load(tmp_path / "packed")
    assert torch.equal(loaded(x), model(x))
    assert not any(isinstance(module, QuantizedSynapse) for module in loaded.modules())

    # The file: bits / 8 for each weight, and all the rest as it must be.
    header = int.from_bytes(file.read_bytes()[:8], "little") + 8
    assert file.stat().st_size == plain + header
    kernels = [k for m in loaded.modules() if isinstance(m, PackedSynapse) for k in m.kernels]
    ideal = sum(kernel.integers.numel() * kernel.bits for kernel in kernels) / 8
    assert {kernel.bits for kernel in kernels} <= {bits, 7, 8}
    rest = sum(8 * len(kernel.step) for kernel in kernels)
    assert abs(plain - ideal - rest) <= 0.05 * (ideal + rest)

    before, after = ss.deploy(model, x), ss.deploy(loaded, x)
    for ours, theirs in zip(before.graph.nodes, after.graph.nodes, strict=True):
        if hasattr(ours, "weight"):
            # Deploying folds in float64, packing in the model's float32: ties may fall differently.
            apart = (ours.weight.int() - theirs.weight.int()).abs()
            assert apart.max() <= 1
            assert apart.double().mean() < 1e-3
    assert after.verify(x).equal
    assert ss.energy(loaded, x).picojoules == pytest.approx(ss.energy(model, x).picojoules)

    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == file.read_bytes()


def test_a_spk_file_holds_weights_without_gaps(tmp_path: Path) -> None:
    model, x = _quantised(4, rep_conv="spike_driven")
    net = ss.deploy(model, x)
    net.save(tmp_path / "net.spk")
    data = (tmp_path / "net.spk").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    stored = {n: e["data_offsets"] for n, e in header.items() if n != "__metadata__"}
    lengths = {name: end - start for name, (start, end) in stored.items()}
    weights = {n.name: n for n in net.graph.nodes if hasattr(n, "bits")}
    ideal = sum(node.weight.numel() * node.bits / 8 for node in weights.values())
    rest = size + 8 + sum(v for name, v in lengths.items() if not name.endswith(".weight"))
    assert abs(len(data) - ideal - rest) <= 0.05 * (ideal + rest)
    for name, node in weights.items():
        assert lengths[f"{name}.weight"] == packed_length(node.weight.numel(), node.bits)


@pytest.mark.parametrize("recipe", ["deployable", "official"])
def test_half_precision_would_change_trained_integers(recipe: str, tmp_path: Path) -> None:
    model = ss.quantize(ss.create_model("metaspikformer_nano", num_classes=5), 4, recipe)
    with pytest.raises(ValueError, match=r"half=True would round .* or pass packed=True instead"):
        model.save_pretrained(tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists()


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    plain = ss.create_model("metaspikformer_nano", num_classes=5)
    with pytest.raises(ValueError, match=r"call spikesight\.quantize first"):
        plain.save_pretrained(tmp_path / "plain", packed=True)
    with pytest.raises(ValueError, match="deployable"):
        ss.quantize(plain, 4, "official").save_pretrained(tmp_path / "plain", packed=True)
    assert not (tmp_path / "plain").exists()
    model, _ = _quantised(4)
    with pytest.raises(ValueError, match="half=True"):
        model.save_pretrained(tmp_path / "plain", packed=True, half=True)
    model.save_pretrained(tmp_path / "packed", packed=True)
    with pytest.raises(ValueError, match="quantised already"):
        ss.quantize(ss.load(tmp_path / "packed"), 4)
    config = tmp_path / "packed" / "config.json"
    config.write_text(config.read_text().replace('"bits": 4', '"bits": 3'))
    with pytest.raises(ValueError, match="does not fit"):
        ss.load(tmp_path / "packed")
