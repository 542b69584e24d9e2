"""A trained model in another form stays near its function, and training goes on from it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.passes.warm_start import change_form, settle_statistics
from spikesight.synapses import QuantizedSynapse
from spikesight.training import TrainConfig, train
from spikesight.training.tasks.validation import training_batches, validate
from tests.conftest import firing_rates, wake

Build = Callable[..., TrainConfig]
MODEL = "metaspikformer_nano"


def _awake(**options: object) -> tuple[ss.SpikingModel, list[Tensor]]:
    model = ss.create_model(MODEL, num_classes=5, levels=16, **options)
    x = torch.rand(32, 3, 16, 16) * 3
    wake(model, x)
    return model, [x, x.flip(0)]


def test_the_rectifier_starts_as_the_identity() -> None:
    model, batches = _awake()
    model.double()
    rectified = change_form(model, [], mprf=True)
    assert rectified.recipe["arguments"]["mprf"] is True
    x = batches[0].double()
    torch.testing.assert_close(rectified(x), model(x), rtol=1e-9, atol=1e-9)
    assert change_form(rectified, batches, mprf=True) is rectified


@pytest.mark.parametrize("neuron", ["i_lif", "ni_lif"])
def test_neurons_inside_rep_conv_start_near_its_function(neuron: str) -> None:
    model, batches = _awake(neuron=neuron)
    settle_statistics(model, batches)
    changed = change_form(model, batches, rep_conv="spike_driven")
    assert changed.recipe["arguments"]["rep_conv"] == "spike_driven"
    recorded: list[Tensor] = []
    place = "trunk.3.1.attention."
    handle = changed.get_submodule(f"{place}neuron").register_forward_hook(
        lambda *call: recorded.append(call[-1])
    )
    rates = firing_rates(changed, batches[0])
    handle.remove()
    inside = [
        r for name, r in rates.items() if name.endswith(("reduce_neuron", "depthwise_neuron"))
    ]
    assert len(inside) == 16
    assert all(0.05 < rate < 0.7 for rate in inside)
    for projection in ("query", "key", "value"):
        # At the border the padding counts 0 where the folded kernel has the image of zero.
        current, reference = (
            m.get_submodule(place + projection)(recorded[0])[..., 1:-1, 1:-1].flatten()
            for m in (changed, model)
        )
        likeness = torch.corrcoef(torch.stack([current, reference]))[0, 1].item()
        assert likeness > 0.8, (projection, likeness)
    assert ss.verify(changed, batches[0][:2]).equal


def test_what_was_trained_is_not_taken_away() -> None:
    model, batches = _awake(rep_conv="spike_driven")
    with pytest.raises(ValueError, match="leave rep_conv or mprf out"):
        change_form(model, batches, rep_conv="official")
    ss.quantize(model, 4)
    with pytest.raises(ValueError, match="unquantised"):
        change_form(model, batches, mprf=True)


def test_settling_changes_statistics_alone() -> None:
    model, batches = _awake()
    ss.quantize(model, 3)
    before = copy.deepcopy(model.state_dict())
    settle_statistics(model, batches)
    assert not any(module.training for module in model.modules())
    inner = [n for n, m in model.named_modules() if isinstance(m, QuantizedSynapse)]
    assert inner
    changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert changed
    assert all(n.split(".")[-1].startswith(("running", "num_batches")) for n in changed)
    assert not any(".border." in n for n in changed)
    assert {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.5}


def test_quantize_then_train_on(
    tiny: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny(epochs=1, model__levels=8)).folder
    start = tmp_path / "start"
    words = ["quantize", str(run), str(start), "--bits=4", "--rep-conv=spike_driven", "--mprf=true"]
    assert main([*words, "--images=64"]) == 0
    shown = capsys.readouterr().out
    assert "top-1 on 359 validation images: trained" in shown
    recipe = json.loads((start / "config.json").read_text())
    assert recipe["quantization"] == {
        "bits": 4,
        "recipe": "deployable",
        "power_of_two": False,
        "image_bits": 7,
    }
    assert validate(start).top1 == json.loads((start / "run.json").read_text())["metrics"]["top1"]

    form = {"model__arguments__rep_conv": "spike_driven", "model__arguments__mprf": True}
    options = {"model__weights": str(start), "model__levels": 8, **form}
    again = train(tiny("again", epochs=1, model__bits=4, **options))
    model = ss.load(again.folder / "last")
    assert model.recipe["quantization"]["bits"] == 4
    x = torch.cat(training_batches(run, count=4))
    assert ss.deploy(model, x).verify(x).equal
    packed = tmp_path / "packed"
    assert main(["convert", str(again.folder / "last"), str(packed), "--packed"]) == 0
    assert torch.equal(ss.load(packed)(x), model(x))
    with pytest.raises(ValueError, match="packed weights, which cannot be trained on"):
        train(tiny("other", **options | {"model__weights": str(packed), "model__bits": 4}))
    for change in ({"model__bits": 3}, {"model__bits": 4, "model__power_of_two": True}, {}):
        with pytest.raises(ValueError, match=r"pass model\.bits=4 model\.recipe=deployable"):
            train(tiny("other", **options, **change))


def test_training_images_are_as_many_as_wanted(tiny: Build) -> None:
    run = train(tiny(epochs=1)).folder
    batches = training_batches(run, count=100, batch_size=64)
    assert [len(batch) for batch in batches] == [64, 64]
    assert batches[0].shape[1:] == (1, 8, 8)
    with pytest.raises(ValueError, match="images is 0"):
        training_batches(run, count=0)


def test_more_time_steps_fine_tune_from_one(tiny: Build) -> None:
    """T = 1 weights load into a network of T = 4, which trains (QSD appendix G, SDT-V2)."""
    once = train(tiny(epochs=1, limit_batches=None, optimizer__lr=0.02, model__levels=4))
    four = train(
        tiny("four", epochs=1, model__steps=4, model__levels=4, model__weights=str(once.folder))
    )
    model = ss.load(four.folder / "last")
    assert model.steps == 4
    assert four.last.firing_rate is not None
    assert any(
        not torch.equal(tensor, ss.load(once.folder / "best").state_dict()[name])
        for name, tensor in model.state_dict().items()
    )
