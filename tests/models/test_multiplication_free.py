"""A segmenter without multiplications behind its first layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikesight as ss
from spikesight.attention import DeformableSampling, MaskProduct
from spikesight.deployment.runtime.sampling import interpolate, resize
from spikesight.graph import integer_vocabulary as integer
from spikesight.losses import SegmentationLoss, Segments
from spikesight.models.spike2former import MULTIPLICATION_FREE
from spikesight.synapses.resizing import bilinear_resize, sixteen_times_doubled
from tests.conftest import firing_rates, wake
from tests.deployment.native_forms import NATIVE

SAMPLING = "pixel_decoder.encoder.0.attention.sampling"


def segmenter(**options: Any) -> tuple[nn.Module, Tensor]:
    model = ss.create_model("spike2former_nano", num_classes=5, **options)
    x = torch.rand(2, 3, 32, 48)
    return wake(model, x), x


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)], ids=str)
def test_doubling_by_shifts_is_bilinear(size: tuple[int, int]) -> None:
    x = torch.randint(-5000, 5000, (2, 3, *size)).double()
    wanted = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    # Integers up to 2^17 times sixteenths: float64 holds both without rounding.
    assert torch.equal(sixteen_times_doubled(x), wanted * 16)
    assert torch.equal(sixteen_times_doubled(x.long()), (wanted * 16).long())
    doubled = (2 * size[0], 2 * size[1])
    assert torch.equal(bilinear_resize(x, doubled, shifts=True), wanted)
    assert torch.equal(resize(integer.Resize("r", ()), x, doubled), (wanted + 0.5).floor())
    assert torch.equal(bilinear_resize(x, size, shifts=True), x)
    with pytest.raises(ValueError, match="only doubling"):
        bilinear_resize(x, (3 * size[0], 3 * size[1]), shifts=True)


def test_quarters_of_a_pixel_are_shifts_and_additions() -> None:
    """The integer network's interpolation equals one that shifts and adds."""
    node = integer.Sample("s", (), groups=1, side=1, offset_shift=10, position_bits=2)
    value = torch.randint(-5000, 5000, (1, 1, 8, 9))
    quarters = torch.randint(-6, 7, (1, 2, 8, 9))
    ours = interpolate(node, value.double(), quarters.double() * 256)[0, 0, 0, 0]

    def between(a: int, b: int, quarter: int) -> int:
        first, second = (a, b) if quarter < 3 else (b, a)
        by_quarter = {0: a << 2, 1: (first << 1) + first + second, 2: (a + b) << 1}
        by_quarter[3] = (first << 1) + first + second
        return by_quarter[quarter]

    def pixel(row: int, column: int) -> int:
        inside = 0 <= row < 8 and 0 <= column < 9
        return int(value[0, 0, row, column]) if inside else 0

    for row in range(8):
        for column in range(9):
            x = 4 * column + int(quarters[0, 0, row, column])
            y = 4 * row + int(quarters[0, 1, row, column])
            lines = [
                between(pixel(line, x >> 2), pixel(line, (x >> 2) + 1), x & 3)
                for line in (y >> 2, (y >> 2) + 1)
            ]
            assert (between(*lines, y & 3) + 8) >> 4 == int(ours[row, column])


def test_offsets_are_rounded_in_training_and_learn() -> None:
    sampling = DeformableSampling(groups=2, offset_bits=2)
    value = torch.rand(1, 4, 5, 6, dtype=torch.float64)
    weight = torch.ones(1, 18, 5, 6, dtype=torch.float64)
    offset = torch.randn(1, 36, 5, 6, dtype=torch.float64, requires_grad=True)
    rounded = (offset.detach() * 4 + 0.5).floor() / 4
    output = sampling(value, offset, weight)
    torch.testing.assert_close(output, DeformableSampling(groups=2)(value, rounded, weight))
    output.square().sum().backward()
    assert offset.grad is not None
    assert bool(offset.grad.any())
    with pytest.raises(ValueError, match="offset_bits=9"):
        DeformableSampling(groups=2, offset_bits=9)


def test_inhibitory_channels_are_subtracted() -> None:
    embedding, features = torch.rand(2, 6, 1, 3), torch.rand(2, 6, 4, 5)
    signs = torch.tensor([1.0, 1, 1, 1, -1, -1]).view(1, -1, 1, 1)
    signed = MaskProduct(inhibitory=2)(embedding, features)
    torch.testing.assert_close(signed, MaskProduct()(embedding, features * signs))


def test_it_starts_alive_and_learns() -> None:
    model = ss.create_model("spike2former_nano", num_classes=5, multiplication_free=True).train()
    x = torch.randn(2, 3, 64, 64)
    rates = firing_rates(model, x)
    assert all(0.02 < rate < 0.5 for rate in rates.values()), rates
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[:, 32:] = 3
    truth = [Segments.from_label_map(labels, 5)] * 2
    output = model(x)
    assert bool((output.mask_logits < 0).any())
    assert bool((output.mask_logits > 0).any())
    SegmentationLoss(5)(output, truth)["total"].backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    "options", [{"multiplication_free": True}, {"mask_features": "spikes", "steps": 2}], ids=str
)
def test_passes_agree(options: dict[str, Any]) -> None:
    model, x = segmenter(**options)
    result = ss.verify(model, x)
    assert result.equal, result.table()
    assert result.output_error < 1e-9
    net = ss.deploy(model, x)
    report = net.verify(x, against=("spikes", *NATIVE, "training"))
    assert report.equal, report.table()
    assert report.silent == []
    rate = report.training_mismatch_rate
    assert rate is not None
    assert rate < 0.4


def test_audit_before_and_after() -> None:
    before, after = (
        ss.audit(ss.deploy(*segmenter(**options)), segmenter()[1])
        for options in ({}, {"multiplication_free": True})
    )
    assert before.offenders == [SAMPLING]
    assert after.offenders == []
    assert after.spike_driven
    for kind in ("upsampling", "bilinear sampling", "mask product"):
        for layer in after.layers:
            if layer.kind == kind:
                assert layer.operations.multiplies == 0
                assert layer.operations.accumulates + layer.operations.additions > 0
    products = {
        report: next(layer.operations for layer in report.layers if layer.kind == "mask product")
        for report in (before, after)
    }
    # Spikes that meet are fewer than spikes times pixels.
    assert 0 < products[after].accumulates < products[before].accumulates


def test_energy_before_and_after() -> None:
    before, after = (
        ss.energy(*segmenter(**options)) for options in ({}, {"multiplication_free": True})
    )
    kinds = [
        {layer.kind for layer in report.layers if layer.multiplies} for report in (before, after)
    ]
    assert kinds[0] == {"first layer", "upsampling", "bilinear sampling"}
    assert kinds[1] == {"first layer"}
    by_kind = {layer.kind: layer for layer in after.layers}
    assert by_kind["upsampling"].accumulates == 3 * 64 * 16 * 24
    assert by_kind["bilinear sampling"].accumulates == 6 * 9 * 64 * 2 * 3
    masks = by_kind["mask product"]
    assert 0 < masks.accumulates < masks.macs * 4


def test_the_switch_is_its_three_options() -> None:
    model = ss.create_model("spike2former_nano", num_classes=5, multiplication_free=True)
    assert {name: getattr(model.sizes, name) for name in MULTIPLICATION_FREE} == MULTIPLICATION_FREE
    model = ss.create_model(
        "spike2former_nano", num_classes=5, multiplication_free=True, offset_bits=None
    )
    assert model.sizes.offset_bits is None
    with pytest.raises(ValueError, match="bilinear, shift"):
        ss.create_model("spike2former_nano", num_classes=5, upsampling="nearest")
