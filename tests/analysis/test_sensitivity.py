from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import spikesight
from spikesight.analysis import module_groups, module_sensitivity
from spikesight.reports import draw_sensitivity

SIZES = {"widths": (4, 4, 8, 8, 8), "depths": (0, 1, 0, 1, 0), "heads": 2}


def model() -> spikesight.SpikingModel:
    built: spikesight.SpikingModel = spikesight.create_model(
        "metaspikformer_nano", num_classes=3, in_channels=1, **SIZES
    )
    return built.eval()


def test_every_weight_is_in_one_group() -> None:
    network = model()
    groups = module_groups(network)
    names = [name for group in groups.values() for name in group]
    layers = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sorted(names) == sorted(layers)
    assert all(".attention." in name for name in groups["attention"])
    assert len(groups["attention"]) == 4 * 3, "four RepConvs of three convolutions"
    assert all(".mlp." in n or n.startswith("head.") for n in groups["fully connected"])
    assert len(groups["fully connected"]) == 3
    assert any(".separable." in name for name in groups["convolution"])


def test_one_group_at_a_time_is_changed(tmp_path: Path) -> None:
    network = model()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def silence(changed: nn.Module, names: list[str]) -> None:
        for name in names:
            nn.init.zeros_(changed.get_submodule(name).weight)

    def silent_layers(changed: nn.Module) -> float:
        layers = (m for m in changed.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        return float(sum(not layer.weight.any() for layer in layers))

    results = module_sensitivity(network, silence, silent_layers)
    groups = module_groups(network)
    assert [result.group for result in results] == ["nothing", *groups, "everything"]
    for result in results:
        assert result.measured == result.difference == len(result.modules)
    assert results[-1].measured == sum(map(len, groups.values()))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    draw_sensitivity(results, tmp_path / "bars.png")
    assert Image.open(tmp_path / "bars.png").size[0] > 500
    with pytest.raises(ValueError, match="no sensitivity to draw"):
        draw_sensitivity([], tmp_path / "none.png")
