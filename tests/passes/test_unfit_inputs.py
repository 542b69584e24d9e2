"""What a model refuses, its graph, its spikes and all that measures on them refuse alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.graph import execute, execute_all

UNFIT = {
    "time mistaken for batch": (2, 4, 3, 16, 16),
    "no multiple of the stride": (2, 3, 17, 16),
    "channels": (2, 2, 16, 16),
    "no batch dimension": (3, 16, 16),
}


@pytest.fixture(scope="module")
def model() -> ss.SpikingModel:
    torch.manual_seed(0)
    return ss.create_model("metaspikformer_nano", num_classes=5, neuron="lif", steps=2).eval()


@pytest.fixture(scope="module")
def uses(model: ss.SpikingModel) -> dict[str, Callable[[Tensor], object]]:
    graph = ss.trace(model)
    net = ss.deploy(model, torch.rand(2, 3, 16, 16))
    return {
        "execute": lambda x: execute(graph, x),
        "execute_all": lambda x: execute_all(graph, x),
        "unroll": lambda x: ss.unroll(graph)(x),
        "run": lambda x: ss.unroll(graph).run(x),
        "energy": lambda x: ss.energy(model, x),
        "energy of batches": lambda x: ss.energy(model, [x]),
        "energy of a deployed network": lambda x: ss.energy(net, x),
        "calibrate": lambda x: net.calibrate([x]),
        "deploy": lambda x: ss.deploy(model, torch.rand(2, 3, 16, 16), calibration=[x]),
        "verify": lambda x: ss.verify(model, x),
    }


@pytest.mark.parametrize("shape", UNFIT.values(), ids=UNFIT)
def test_the_message_is_the_models(
    shape: tuple[int, ...],
    model: ss.SpikingModel,
    uses: dict[str, Callable[[Tensor], object]],
) -> None:
    x = torch.rand(shape)
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
        model(x)
    for name, use in uses.items():
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            use(x)
        assert str(caught.value) == str(refused.value), name


@pytest.mark.parametrize("kind", [tuple, list])
def test_inputs_and_labels_of_one_batch_are_no_batches(
    kind: Callable[[object], object], model: ss.SpikingModel
) -> None:
    x, labels = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    net = ss.deploy(model, x)
    batch = kind((x, labels))
    for use in (
        lambda: ss.energy(model, batch),
        lambda: ss.energy(net, batch),
        lambda: ss.audit(net, batch),
        lambda: net.calibrate(batch),
    ):
        with pytest.raises(ValueError, match=r"pass one batch .* as \[\(inputs, labels\)\]"):
            use()
    assert ss.energy(model, [batch]).samples == 2
