"""Masked-image pre-training as a run, and fine-tuning from it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import spikesight
from spikesight.commands.parser import main
from spikesight.models import MaskedAutoencoder, MaskedImageSizes
from spikesight.training import TrainConfig, Trainer, TrainingInterrupted, parameter_groups, train
from spikesight.training.tasks.masked_image.evaluation import MaskedImageFigures, visible_patches
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.validation import validate

from .conftest import stop_after
from .test_resuming_runs import rows, tensors

Build = Callable[..., TrainConfig]
SPIKFORMER = {"width": 16, "heads": 2}


def masked(tiny: Build, output: str = "masked", **changes: object) -> TrainConfig:
    options: dict[str, object] = {
        "task": "masked_image",
        "model__name": "spikformer_v2_nano",
        "model__arguments": SPIKFORMER,
        "data__image_size": 16,
        "masked_image__width": 16,
        "masked_image__depth": 1,
        "masked_image__heads": 2,
    }
    return tiny(output, **(options | changes))


def finetuned(tiny: Build, source: TrainConfig, output: str, **changes: object) -> TrainConfig:
    options: dict[str, object] = {
        "epochs": 1,
        "limit_batches": 2,
        "model__name": "spikformer_v2_nano",
        "model__arguments": SPIKFORMER,
        "model__weights": source.output,
        "data__image_size": 16,
    }
    return tiny(output, **(options | changes))


def test_a_run_learns_and_shows_it(tiny: Build, capsys: pytest.CaptureFixture[str]) -> None:
    config = masked(
        tiny,
        epochs=3,
        limit_batches=12,
        batch_size=16,
        ema__decay=0.5,
        optimizer__lr=1e-2,
        validate_every=2,
    )
    result = train(config)
    with (result.folder / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert float(table[-1]["train_loss"]) < 0.95 < float(table[0]["train_loss"])
    assert [row["val_loss"] != "" for row in table] == [False, True, True]
    assert isinstance(result.last, MaskedImageFigures)
    assert float(table[-1]["val_loss"]) == result.last.loss < 1.0
    assert float(table[-1]["ema_loss"]) >= result.best.loss
    assert 0 < float(table[-1]["firing_rate"]) < 1
    assert result.last.images == 192
    pictures = sorted((result.folder / "reconstructions").iterdir())
    assert [p.name for p in pictures] == ["epoch_0002.png", "epoch_0003.png"]
    with Image.open(pictures[-1]) as picture:
        assert picture.size == (8 * 100 + 4, 3 * 100 + 4)
        assert len(set(picture.convert("L").get_flattened_data())) > 50
    assert "75 % of the patches hidden" in capsys.readouterr().out
    assert main(["val", str(result.folder / "last"), "--limit-batches=12", "--batch-size=16"]) == 0
    assert f"reconstruction loss {result.last.loss:.4f}" in capsys.readouterr().out


def test_figures_do_not_depend_on_batches(tiny: Build) -> None:
    result = train(masked(tiny, epochs=1, limit_batches=2))
    whole = validate(result.folder, ValidationOptions(batch_size=359))
    parts = validate(result.folder, ValidationOptions(batch_size=37))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    model = spikesight.load(result.folder / "last")
    assert isinstance(model, MaskedAutoencoder)
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    masks = visible_patches(model, images)
    assert torch.equal(visible_patches(model, images[1:2]), masks[1:2])
    assert not torch.equal(masks[0], masks[1])


def test_resume_equals_uninterrupted(tiny: Build) -> None:
    changes = {"ema__decay": 0.9, "data__horizontal_flip": True, "limit_batches": 3}
    straight = masked(tiny, "straight", **changes)
    train(straight)
    broken = masked(tiny, "broken", resume=True, **changes)
    with pytest.raises(TrainingInterrupted):
        train(broken, stop_after(5))
    train(broken)
    assert rows(broken) == rows(straight)
    expected, got = tensors(straight), tensors(broken)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


@pytest.mark.parametrize("steps", [2, 4])
def test_fine_tuning_takes_the_trunk(
    tiny: Build, capsys: pytest.CaptureFixture[str], steps: int
) -> None:
    source = masked(tiny, epochs=1, limit_batches=2)
    saved = load_file(train(source).folder / "best" / "model.safetensors")
    config = finetuned(
        tiny, source, "tuned", model__steps=steps, optimizer__layer_decay=0.5, epochs=2
    )
    trainer = Trainer(config)
    assert "the trunk starts from" in capsys.readouterr().out
    own = trainer.model.state_dict()
    assert all(torch.equal(own[n], saved[n]) for n in own if n.startswith("trunk."))
    assert {n for n in own if not n.startswith("trunk.")} == {
        "head.linear.weight",
        "head.linear.bias",
    }
    assert trainer.run().last.images > 0


def test_other_ways_to_start(tiny: Build, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}
    trunk = {"model__name": "metaspikformer_nano", "model__arguments": arguments}
    source = masked(tiny, epochs=1, limit_batches=2, **trunk)
    train(source)
    classifier = finetuned(tiny, source, "classifier", **trunk)
    train(classifier)
    # A classifier's trunk goes on in pre-training, and so does all of another pre-training.
    for name, start, note in (("a", classifier, True), ("b", source, False)):
        capsys.readouterr()
        model = Trainer(
            masked(tiny, name, model__weights=start.output, **trunk),
        ).model
        assert ("the trunk starts from" in capsys.readouterr().out) == note
        saved = load_file(Path(start.output) / "best" / "model.safetensors")
        own = model.state_dict()
        same = {n for n in own if n in saved and torch.equal(own[n], saved[n])}
        assert {n for n in own if n.startswith("trunk.")} <= same
        assert ("decoder.mask_token" in same) == (not note)
    other = finetuned(tiny, source, "other", model__name="metaspikformer_nano")
    other.model.arguments = arguments | {"widths": [4, 4, 8, 16, 16]}
    with pytest.raises(ValueError, match=r"does not fit the trunk.*the same trunk and sizes"):
        Trainer(other)
    more = finetuned(tiny, classifier, "more", model__num_classes=12, **trunk)
    assert Trainer(more).model.head.linear.weight.shape[0] == 12
    assert "fresh classifier" in capsys.readouterr().out


def test_a_pre_trained_trunk_serves_a_segmenter(tmp_path: Path) -> None:
    from spikesight.training.runs.starting_weights import start_from

    trunk = spikesight.create_model("metaspikformer_nano")
    autoencoder = MaskedAutoencoder(trunk, MaskedImageSizes())
    autoencoder.save_pretrained(tmp_path)
    segmenter = spikesight.create_model("spike2former_nano", num_classes=3)
    (note,) = start_from(segmenter, tmp_path)
    assert note.startswith("the trunk starts from")
    moved = segmenter.trunk.state_dict()
    expected = trunk.state_dict()
    assert moved.keys() < expected.keys()
    assert all(torch.equal(moved[name], expected[name]) for name in moved)


@pytest.mark.parametrize("name", ["spikformer_v2_nano", "metaspikformer_nano"])
def test_layer_decay_reaches_every_stage(name: str) -> None:
    model = (
        spikesight.create_model(name, depth=3) if "v2" in name else spikesight.create_model(name)
    )
    groups = parameter_groups(model, 0.05, layer_decay=0.75)
    scale = {n: group["lr_scale"] for group in groups for n in group["names"]}
    depths = [[scale[n] for n in scale if n in _names(model, stage)] for stage in model.stages()]
    assert all(len(set(values)) == 1 for values in depths if values)
    first = [values[0] for values in depths if values]
    assert first == [0.75 ** (len(depths) - 1 - i) for i, values in enumerate(depths) if values]
    assert scale["head.linear.weight"] == 1.0
    staged = {n for stage in model.stages() for n in _names(model, stage)}
    assert staged == set(scale)


def _names(model: torch.nn.Module, stage: torch.nn.Module) -> set[str]:
    own = {id(p) for p in stage.parameters()}
    return {n for n, p in model.named_parameters() if id(p) in own}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing is for classifiers and task is masked_image"),
        ({"model__bits": 4}, "pre-train first, then quantise; leave model.bits out"),
        ({"firing_rate__weight": 0.1}, "hidden patches never fire"),
        ({"compile": "model"}, "compile does not go with task=masked_image"),
        ({"data__events__saccades": True, "data__channels": 2}, "pass photos, not events"),
        ({"masked_image__ratio": 0.0}, r"masked_image\.ratio is 0\.0"),
        ({"masked_image__patch": 6}, "multiple of the stride"),
        ({"data__image_size": 4}, "hides 1 of 1 patch"),
    ],
)
def test_mistakes_are_named(tiny: Build, changes: dict[str, object], message: str) -> None:
    if "data__events__saccades" in changes:
        changes = changes | {"model__steps": 8, "data__random_crop_padding": 0}
    with pytest.raises(ValueError, match=message):
        train(masked(tiny, **({"epochs": 1, "limit_batches": 2} | changes)))


def test_a_trunk_alone_cannot_classify(
    tiny: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(masked(tiny, epochs=1, limit_batches=2)).folder
    photo = tmp_path / "photo.png"
    Image.new("L", (16, 16)).save(photo)
    for words in (["predict", str(folder), str(photo)], ["energy", str(folder)]):
        assert main(words) == 2
        assert "to be fine-tuned first" in " ".join(capsys.readouterr().err.split())


def test_a_linear_probe_asks_what_the_trunk_knows(
    tiny: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"epochs": 1, "limit_batches": 3, "masked_image__hiding": "blank"}
    plain = train(masked(tiny, "plain", **changes))
    probed = masked(tiny, "probed", linear_probe=True, data__label_fraction=0.2, **changes)
    result = train(probed)
    assert isinstance(result.last, MaskedImageFigures)
    assert result.last.probe is not None
    assert 20 < result.last.probe < 100
    assert f"linear probe {result.last.probe:.2f} %" in capsys.readouterr().out
    with (result.folder / "metrics.csv").open() as file:
        assert float(next(csv.DictReader(file))["val_probe"]) == result.last.probe
    # All images train, with or without a probe, which leaves the model as it was.
    saved = [load_file(r.folder / "last" / "model.safetensors") for r in (plain, result)]
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])
    assert Trainer(finetuned(tiny, probed, "tuned", data__label_fraction=0.2)).data.images == 287


def test_a_probe_needs_classes_and_a_trunk(tiny: Build, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="linear_probe is for pre-training without labels"):
        tiny(linear_probe=True)
    (tmp_path / "photos" / "all").mkdir(parents=True)
    for number in range(4):
        Image.new("L", (16, 16), 60 * number).save(tmp_path / "photos" / "all" / f"{number}.png")
    data = {"data__format": "folder", "data__path": str(tmp_path / "photos"), "batch_size": 2}
    with pytest.raises(ValueError, match="linear_probe asks for classes"):
        Trainer(masked(tiny, linear_probe=True, **data))


@pytest.mark.parametrize(("target", "drawn"), [("gradients", False), ("colours", True)])
def test_other_targets_are_learned(tiny: Build, target: str, drawn: bool) -> None:
    result = train(masked(tiny, epochs=1, limit_batches=2, masked_image__target=target))
    assert isinstance(result.last, MaskedImageFigures)
    assert 0 < result.last.loss < 10
    assert (result.folder / "reconstructions").exists() == drawn
