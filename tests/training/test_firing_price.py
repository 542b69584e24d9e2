"""What a run pays for the counts of its neurons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import spikesight as ss
from spikesight.costs.readers import reading_macs
from spikesight.errors import UserError
from spikesight.losses import FiringRateConfig, spiking_neurons
from spikesight.passes.folding import fold
from spikesight.training import TrainConfig, parameter_groups, train
from spikesight.training.firing_price import FiringPrice
from tests.conftest import wake
from tests.registered_models import NANO, told

Tiny = Callable[..., TrainConfig]
BY_COST = FiringRateConfig(weight=1.0, counts="nonzero", by="cost")


@pytest.mark.parametrize("steps", [1, 2])
def test_a_layer_pays_what_its_readers_do(steps: int) -> None:
    model = ss.create_model(
        "metaspikformer_nano", num_classes=10, in_channels=1, steps=steps, depths=(0, 1, 0, 1, 0)
    )
    images = torch.rand(3, 1, 16, 16)
    wake(model, images)
    macs = reading_macs(fold(ss.trace(model)), (16, 16))
    share: dict[str, float] = {}

    def note(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        return lambda _, __, output: share.__setitem__(name, float(output.ne(0).float().mean()))

    price = FiringPrice(BY_COST, model)
    for name, neuron in spiking_neurons(model).items():
        neuron.register_forward_hook(note(name))
    model.train()(images)
    paid = price((16, 16))
    expected = sum(share[name] * cost for name, cost in macs.items()) / sum(macs.values())
    assert float(paid.detach()) == pytest.approx(expected, rel=1e-5)
    assert price.figures() == {"nonzero_by_mac": pytest.approx(expected, rel=1e-5)}
    paid.backward()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    slopes = [norm.bias.grad for norm in norms if norm.bias.grad is not None]
    assert sum(float(slope.sum()) for slope in slopes) > 0, "lower biases are cheaper"
    price.close()
    model(images)
    assert price((16, 16)) == 0, "the hooks are gone"


@pytest.mark.parametrize("name", NANO)
def test_every_family_pays(name: str) -> None:
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=3, in_channels=3)
    images = torch.rand(2, 3, 64, 64)
    wake(model, images)
    price = FiringPrice(BY_COST, model)
    model.train()(images, *told(model, images))
    paid = price((64, 64))
    assert 0 < float(paid.detach()) < 1
    paid.backward()
    assert sum(p.grad is not None and bool(p.grad.any()) for p in model.parameters()) > 4


def test_an_ann_pays_nothing() -> None:
    twin = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=1, neuron="relu")
    price = FiringPrice(BY_COST, twin)
    twin.train()(torch.rand(2, 1, 16, 16))
    assert price((16, 16)) == 0
    assert price.figures() == {}


def test_a_run_becomes_quiet(tiny: Tiny) -> None:
    options = {"epochs": 8, "optimizer__norm_lr_scale": 20.0, "log_every": 4, "validate_every": 8}
    price = {"firing_rate__counts": "nonzero", "firing_rate__by": "cost"}
    price |= {"firing_rate__weight": 8.0, "firing_rate__target": 0.05}  # type: ignore[dict-item]
    result = train(tiny("quiet", **options, **price))
    assert list((result.folder / "best").iterdir())
    nonzero = _logged(result.folder, "step/nonzero_by_mac")
    assert nonzero[-1] < 0.7 * nonzero[0]
    free = train(tiny("free", **options))
    images = torch.rand(8, 1, 8, 8)
    quiet, loud = (
        ss.energy(ss.load(folder / "last"), images).nonzero_by_mac
        for folder in (result.folder, free.folder)
    )
    assert quiet is not None
    assert loud is not None
    assert quiet < loud


def test_counts_that_are_dear_to_a_cost_model_pay_more(tiny: Tiny) -> None:
    images = torch.rand(2, 1, 16, 16)
    model = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=1)
    paid = {}
    for prices in ("macs", "integer", "memory"):
        config = FiringRateConfig(1.0, counts="nonzero", by="cost", prices=prices)  # type: ignore[arg-type]
        price = FiringPrice(config, model.train())
        model(images)
        paid[prices] = float(price((16, 16)).detach())
        (name,) = price.figures()
        assert name == ("nonzero_by_mac" if prices == "macs" else "nonzero_by_pj")
        price.close()
    assert all(value > 0 for value in paid.values())
    assert paid["memory"] != pytest.approx(paid["macs"], rel=1e-3)
    with pytest.raises(UserError, match="by=layer ignores"):
        FiringRateConfig(1.0, prices="memory")
    options = {"firing_rate__counts": "nonzero", "firing_rate__by": "cost", "log_every": 1}
    options |= {"firing_rate__weight": 1.0, "firing_rate__prices": "movement", "epochs": 1}
    result = train(tiny("dear", **options))
    assert _logged(result.folder, "step/nonzero_by_pj")


def _logged(folder: Path, tag: str) -> list[float]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [scalar.value for scalar in events.Scalars(tag)]


def test_normalisations_alone_learn_faster() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=1)
    groups = parameter_groups(model, 0.1, layer_decay=0.5, norm_lr_scale=20.0)
    plain = parameter_groups(model, 0.1, layer_decay=0.5)
    fast, slow = (
        {name: group["lr_scale"] for group in either for name in group["names"]}
        for either in (groups, plain)
    )
    norms = {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for name, _ in module.named_parameters()
    }
    assert fast.keys() == slow.keys()
    assert {name: scale / slow[name] for name, scale in fast.items() if scale != slow[name]} == (
        dict.fromkeys(norms, 20.0)
    )
