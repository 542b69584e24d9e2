from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikesight as ss
from spikesight.attention.deformable_sampling import deformable_sample
from spikesight.attention.embedding import sine_position
from spikesight.deployment.runtime.sampling import interpolate, resize, weigh
from spikesight.deployment.runtime.segmenter import position
from spikesight.graph import integer_vocabulary as integer
from tests.conftest import wake
from tests.deployment.native_forms import NATIVE


def segmenter(**options: Any) -> tuple[nn.Module, Tensor]:
    model = ss.create_model("spike2former_nano", num_classes=5, **options)
    x = torch.rand(2, 3, 32, 48)
    return wake(model, x), x


@pytest.mark.parametrize("options", [{}, {"steps": 2}], ids=str)
def test_integers_equal_spikes(options: dict[str, Any]) -> None:
    model, x = segmenter(**options)
    net = ss.deploy(model, x)
    report = net.verify(x, against=("spikes", *NATIVE))
    assert report.equal, report.table()
    assert report.silent == []
    for integers, spikes in zip(net.outputs(x), net.spike_outputs(x), strict=True):
        assert torch.equal(integers, spikes)
    classes, masks = net.outputs(x)
    assert classes.shape == (2, 20, 6)
    assert masks.shape == (2, 20, 16, 24)
    assert classes.dtype == masks.dtype == torch.int32


def test_the_audit_names_the_sampling_alone() -> None:
    model, x = segmenter()
    report = ss.audit(ss.deploy(model, x), x)
    assert report.offenders == ["pixel_decoder.encoder.0.attention.sampling"]
    without = ss.create_model("spike2former_nano", num_classes=5, ablation="without_sdte")
    report = ss.audit(ss.deploy(wake(without, x), x), x)
    assert report.spike_driven, report.offenders


def test_quantised_weights_are_deployed_as_trained() -> None:
    model, x = segmenter()
    ss.quantize(model, 4)
    model.eval()
    net = ss.deploy(model, x)
    assert net.verify(x, against=("spikes", *NATIVE)).equal
    bits = {node.name: node.bits for node in net.graph.nodes if hasattr(node, "bits")}
    wide = {name for name, count in bits.items() if count > 5}
    assert wide <= {
        "trunk.trunk.0.0.conv",
        "mask_embedding.classes",
        "pixel_decoder.mask_features",
    }


def test_integer_interpolation_is_bilinear_on_its_grid() -> None:
    torch.manual_seed(3)
    node = integer.Sample("s", (), groups=2, side=3, offset_shift=10, position_bits=4)
    value = torch.randint(-5000, 5000, (2, 4, 5, 6)).double()
    # Offsets on the grid, so that nothing but the last rounding differs.
    steps = torch.randint(-40, 40, (2, 2 * 9 * 2, 5, 6)).double()
    weight = torch.randint(0, 5, (2, 2 * 9, 5, 6)).double()
    ours = weigh(interpolate(node, value, steps * 64), weight)
    exact = deformable_sample(value, steps / 16, weight, 2, 3)
    assert float((ours - exact).abs().max()) <= 0.5 * 9 * 4 + 1e-6
    nudged = interpolate(node, value, steps * 64 + 31)
    assert torch.equal(nudged, interpolate(node, value, steps * 64))


@pytest.mark.parametrize(("channels", "side"), [(4, 1), (64, 7), (256, 12), (256, 27)])
def test_positions_are_those_of_exact_sines(channels: int, side: int) -> None:
    """Python's floats, pixel by pixel; float32 ends on the other side of a tie at 12 and 27."""
    node = integer.Position("p", (), channels, 10)
    found = position(node, side, side + 1)
    assert found.shape == (1, channels, side, side + 1)
    half = channels // 2
    for channel in range(channels):
        frequency = 10_000 ** (channel % half // 2 * 2 / half)
        wave = math.cos if channel % 2 else math.sin
        size, axis = (side, 1) if channel < half else (side + 1, 0)
        angles = [2 * math.pi * step / (size + 1e-6) / frequency for step in range(1, size + 1)]
        expected = torch.tensor([round(wave(angle) * 1024) for angle in angles]).double()
        assert torch.equal(found[0, channel].select(axis, 0), expected)
        assert torch.equal(found[0, channel].select(axis, -1), expected)
    drawn = sine_position(channels, side, side + 1, found) * 1024
    assert float((found - drawn).abs().max()) < 0.501


def test_integer_doubling_is_bilinear() -> None:
    node = integer.Resize("r", ())
    x = torch.randint(-5000, 5000, (2, 3, 4, 5)).double()
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert float((resize(node, x, (8, 10)) - doubled).abs().max()) <= 0.5
    assert torch.equal(resize(node, x, (4, 5)), x)
    with pytest.raises(ValueError, match="doubling"):
        resize(node, x, (12, 15))


def test_what_has_no_integer_form_is_named() -> None:
    model, x = segmenter(ablation="spiking_query")
    with pytest.raises(ValueError, match="not a current on the residual stream"):
        ss.deploy(model, x)
    model, x = segmenter(official=True, layer_scale=0.5)
    with pytest.raises(ValueError, match="without official=True"):
        ss.deploy(model, x)
