from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import spikesight as ss
from spikesight.errors import UserError
from spikesight.models import MaskedImageSizes
from spikesight.models.masked_image import MaskedAutoencoder
from spikesight.neurons import ILIF, Neuron
from spikesight.passes.quantization import quantize
from tests.registered_models import NANO


class SlowILIF(ILIF):
    def __init__(self, steps: int = 1, levels: int = 4) -> None:
        super().__init__(steps=steps, levels=levels, threshold=0.5, retain=0.75)


def _swap(model: nn.Module, kind: Any) -> nn.Module:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Neuron):
                setattr(module, name, kind(steps=child.steps, levels=child.levels))
    return model


def _nano(**arguments: Any) -> Any:
    arguments = {"num_classes": 5, "neuron": "i_lif", "steps": 2, "levels": 4, **arguments}
    return ss.create_model("metaspikformer_nano", **arguments).eval()


def _with_slower_neurons(**dynamics: float) -> Any:
    return lambda steps, levels: ILIF(steps=steps, levels=levels, **dynamics)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda model: _swap(model.trunk, SlowILIF), "SlowILIF"),
        (lambda model: _swap(model, _with_slower_neurons(threshold=0.5)), "threshold=0.5"),
        (lambda model: _swap(model, _with_slower_neurons(retain=0.75)), "retain=0.75"),
        (lambda model: setattr(model, "steps", 3), "the model.steps is 3 and 2"),
        (lambda model: setattr(model.readout, "steps", 3), "readout.steps is 3"),
        (lambda model: setattr(model, "pool", nn.AdaptiveMaxPool2d(1)), "pool is .*MaxPool"),
        (lambda model: model.add_module("extra", nn.Linear(2, 2)), "extra is no part"),
    ],
)
def test_a_model_that_would_load_as_another_is_refused(
    tmp_path: Path, change: Any, named: str
) -> None:
    model = _nano()
    change(model)
    with pytest.raises(UserError, match=named):
        model.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_quantised_model_with_other_neurons_is_refused(tmp_path: Path) -> None:
    model = quantize(_nano(), 4)
    model.save_pretrained(tmp_path / "good")
    model.save_pretrained(tmp_path / "packed", packed=True)
    ss.load(tmp_path / "packed").save_pretrained(tmp_path / "again")
    _swap(model.trunk, SlowILIF)
    with pytest.raises(UserError, match="SlowILIF"):
        model.save_pretrained(tmp_path / "bad")


@pytest.mark.parametrize("form", ["plain", "masked", "quantised", "packed"])
def test_neurons_that_were_all_swapped_for_a_registered_one_are_saved(
    tmp_path: Path, form: str
) -> None:
    model = _swap(_nano(), SlowILIF)
    if form == "masked":
        model = MaskedAutoencoder(model, MaskedImageSizes())
    elif form != "plain":
        model = quantize(model, 4)
    model.save_pretrained(tmp_path, packed=form == "packed")
    loaded = ss.load(tmp_path)
    assert loaded.recipe["arguments"]["neuron"] == "slow_i_lif"
    assert [part["name"] for part in loaded.recipe["parts"]] == ["slow_i_lif"]
    x = torch.rand(2, 3, 32, 32)
    shown = (x, torch.arange(64).view(8, 8).expand(2, 8, 8) < 16) if form == "masked" else (x,)
    outputs = [m.eval()(*shown) for m in (model, loaded)]
    if form == "masked":
        outputs = [output.patches for output in outputs]
    assert torch.equal(*outputs)


@pytest.mark.parametrize("name", NANO)
def test_what_was_built_is_saved(tmp_path: Path, name: str) -> None:
    state = torch.get_rng_state()
    model = ss.create_model(name, num_classes=3, drop_path_rate=0.1)
    built = torch.get_rng_state()
    model.save_pretrained(tmp_path / "m")
    assert torch.equal(torch.get_rng_state(), built)
    assert not torch.equal(state, built)
    ss.load(tmp_path / "m").save_pretrained(tmp_path / "again")


def test_a_masked_autoencoder_is_saved(tmp_path: Path) -> None:
    model = MaskedAutoencoder(_nano(), MaskedImageSizes())
    model.save_pretrained(tmp_path / "m")
    ss.load(tmp_path / "m").save_pretrained(tmp_path / "again")


def test_half_precision_keeps_what_it_does_not_hold(tmp_path: Path) -> None:
    model = _nano()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    norms[0].running_var.fill_(1e6)
    norms[1].running_var.fill_(1e-7)
    with torch.no_grad():
        model.head.linear.weight[0, 0] = 1e5
    model.save_pretrained(tmp_path / "m", half=True)
    loaded = ss.load(tmp_path / "m")
    x = torch.rand(2, 3, 32, 32)
    assert loaded(x).isfinite().all()
    for name, tensor in loaded.state_dict().items():
        if "running" in name or name == "head.linear.weight":
            assert torch.equal(tensor, model.state_dict()[name])


@torch.no_grad()
def test_a_batch_changes_rounding_alone() -> None:
    torch.manual_seed(1)
    model = _nano().double()
    x = torch.randn(7, 3, 32, 32, dtype=torch.float64)
    alone = torch.cat([model(one) for one in x.split(1)])
    assert torch.allclose(model(x), alone, rtol=0, atol=1e-12)
    network = ss.deploy(model, x)
    assert torch.equal(network(x), torch.cat([network(one) for one in x.split(1)]))


def test_pruning_that_is_not_permanent_is_refused(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3)
    convolution = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    prune.l1_unstructured(convolution, "weight", 0.5)
    with pytest.raises(UserError, match=r"has no weight and .*permanent"):
        model.save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())
    prune.remove(convolution, "weight")
    model.save_pretrained(tmp_path)
    assert torch.equal(
        ss.load(tmp_path).state_dict()["trunk.0.0.conv.conv.weight"],
        model.state_dict()["trunk.0.0.conv.conv.weight"],
    )


def test_tied_weights_are_saved_each(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3).eval()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    first, second = next(
        (a, b)
        for n, a in enumerate(convolutions)
        for b in convolutions[n + 1 :]
        if a.weight.shape == b.weight.shape
    )
    second.weight = first.weight
    model.save_pretrained(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ss.load(tmp_path).eval()(images), model(images))


def test_arguments_of_other_types_are_named(tmp_path: Path) -> None:
    model = _nano()
    model.save_pretrained(tmp_path)
    for dtype in ("float32", torch.int8):
        with pytest.raises(UserError, match=r"dtype is .*floating-point type"):
            ss.load(tmp_path, dtype=dtype)  # type: ignore[arg-type]
    for bits in ("4", 4.5, True):
        with pytest.raises(UserError, match=r"bits is"):
            quantize(model, bits)  # type: ignore[arg-type]
    for name in NANO:
        with pytest.raises(UserError, match="neuron is empty"):
            ss.create_model(name, num_classes=3, neuron="")
        for rate in (-1, 1, 2.0):
            with pytest.raises(UserError, match=f"drop_path_rate is {rate}"):
                ss.create_model(name, num_classes=3, drop_path_rate=rate)
