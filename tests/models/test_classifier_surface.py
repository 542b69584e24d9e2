"""What timm's users expect of a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import nn

import spikesight as ss
from spikesight.data import Preprocessing
from spikesight.errors import UserError
from spikesight.training.runs.checkpoint import Card
from tests.conftest import wake

SMALL = ("metaspikformer_nano", "spikformer_nano", "spikformer_v2_nano")


def build(name: str = "spikformer_nano", **options: Any) -> ss.Classifier:
    model = ss.create_model(name, **{"num_classes": 5, "steps": 2, **options})
    assert isinstance(model, ss.Classifier)
    wake(model, torch.rand(4, 3, 32, 32))
    return model


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", SMALL)
def test_the_head_of_the_features_is_the_model(name: str, steps: int) -> None:
    model = build(name, steps=steps)
    for x in (torch.rand(2, 3, 32, 32), torch.rand(2, steps, 3, 32, 32)):
        features = model.forward_features(x)
        assert features.shape[: features.ndim - 3] == ((2,) if steps == 1 else (2, steps))
        assert features.shape[-3] == model.num_features
        assert torch.equal(model.forward_head(features), model(x))
        before = model.forward_head(features, pre_logits=True)
        assert before.shape == (2, model.num_features)
        torch.testing.assert_close(model.get_classifier()(before), model(x))
    stages = model.feature_stages()
    assert model.feature_info[-1] == {
        "num_chs": model.num_features,
        "reduction": model.stride,
        "module": f"trunk.{stages[-1][0]}",
    }


@pytest.mark.parametrize("name", SMALL)
def test_a_fresh_head_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model = build(name)
    x = torch.rand(2, 3, 32, 32)
    features = model.forward_features(x)
    model.reset_classifier(7, "avg")
    assert model.num_classes == model.recipe["arguments"]["num_classes"] == 7
    assert torch.equal(model.forward_features(x), features)
    assert model(x).shape == (2, 7)
    assert model.get_classifier().linear.bias.eq(0).all()
    model.save_pretrained(tmp_path / "seven")
    loaded = ss.load(tmp_path / "seven")
    assert torch.equal(loaded(x), model(x))
    assert ss.deploy(loaded, x)(x).shape == (2, 7)


def test_a_fresh_head_is_of_the_models_type_and_mode() -> None:
    model = build().double().train()
    model.reset_classifier(3)
    assert model.head.training
    assert model(torch.rand(2, 3, 32, 32, dtype=torch.float64)).dtype == torch.float64
    with torch.device("meta"):
        outline = ss.create_model("spikformer_nano")
    outline.reset_classifier(3)
    assert outline.head.linear.weight.is_meta


@pytest.mark.parametrize("recipe", ["deployable", "official"])
def test_the_head_of_a_quantised_model_stays(recipe: Any) -> None:
    model = ss.quantize(build(), 4, recipe=recipe)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(model.forward_head(model.forward_features(x)), model(x))
    with pytest.raises(UserError, match=r"before spikesight\.quantize"):
        model.reset_classifier(3)
    assert model.num_classes == 5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0,), "num_classes is 0.*pre_logits=True"),
        ((-1,), "num_classes is -1"),
        ((2.5,), "num_classes is 2.5"),
        ((3, "max"), "global_pool is 'max'; pass avg"),
    ],
)
def test_heads_that_cannot_be_are_refused(arguments: tuple[Any, ...], named: str) -> None:
    model = build()
    with pytest.raises(UserError, match=named):
        model.reset_classifier(*arguments)
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize(("size", "share"), [(32, 1.0), (32, 0.9), (28, 0.875), (30, 0.93)])
@pytest.mark.parametrize("channels", [1, 3])
def test_timm_prepares_photos_as_the_folder_says(
    size: int, share: float, channels: int, tmp_path: Path
) -> None:
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels]
    steps = Preprocessing(size, channels, mean, std, share, ("a", "b", "c"))
    saved = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=channels)
    saved.save_pretrained(tmp_path)
    Card(None, steps, 0, "model", None).write(tmp_path)
    model = ss.load(tmp_path)
    assert model.default_cfg == model.pretrained_cfg
    assert model.pretrained_cfg["label_names"] == ["a", "b", "c"]
    assert model.pretrained_cfg["architecture"] == "metaspikformer_nano"
    assert isinstance(model.get_submodule(model.pretrained_cfg["classifier"]), nn.Linear)
    config = resolve_model_data_config(model)
    assert config["input_size"] == (channels, size, size)
    picture = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    photo = Image.fromarray(picture.numpy()).convert("RGB" if channels == 3 else "L")
    photo.save(tmp_path / "photo.png")
    ours = steps.batch_transform(steps.read_file(tmp_path / "photo.png")[None])
    theirs = create_transform(**config)(photo)[None]
    torch.testing.assert_close(theirs, ours)
    model.reset_classifier(4)
    assert "label_names" not in model.pretrained_cfg
    assert model.pretrained_cfg["mean"] == pytest.approx(mean)


def test_a_folder_without_a_card_or_with_a_damaged_one_loads(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3)
    model.save_pretrained(tmp_path)
    assert ss.load(tmp_path).pretrained_cfg.keys() == {"architecture", "num_classes", "classifier"}
    for damaged in ("{", "[]", '{"preprocessing": {"image_size": "large"}}'):
        (tmp_path / "run.json").write_text(damaged)
        assert "mean" not in ss.load(tmp_path).pretrained_cfg


def test_timm_builds_and_resets() -> None:
    model = timm.create_model("spikformer_nano", num_classes=3)
    model.reset_classifier(2)
    assert (model.num_classes, model.get_classifier().linear.out_features) == (2, 2)
    assert resolve_model_data_config(model)["input_size"] == (3, 224, 224)
