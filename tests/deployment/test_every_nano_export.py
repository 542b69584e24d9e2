"""The smallest classifier of every family, at every T and D, in every written form."""

from __future__ import annotations

import importlib.util

import pytest
import torch

import spikesight as ss
from tests.conftest import wake
from tests.deployment.native_forms import NATIVE
from tests.registered_models import NANO, SEGMENTERS, without

NAMES = without(NANO, SEGMENTERS)
WRITTEN = tuple(
    name
    for name, module in {"onnx": "onnxruntime", "openvino": "openvino"}.items()
    if importlib.util.find_spec(module)
)


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("levels", [1, 2, 4, 8])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_integers_spikes_and_exports_count_the_same(name: str, steps: int, levels: int) -> None:
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=5, neuron="i_lif", steps=steps, levels=levels)
    images = 2 * torch.rand(3, 3, 32, 32)
    wake(model, images)
    assert ss.verify(model, images).mismatches == 0
    compared = ss.deploy(model, images).verify(images, against=("spikes", *NATIVE, *WRITTEN))
    assert compared.equal, compared.table()
    assert compared.mismatches == 0
    assert compared.silent == [], compared.table()
