"""A run that learns from a teacher."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import spikesight as ss
from spikesight.attention import SpikingAttentionRecorder
from spikesight.data import DataConfig, EventPreprocessing, Preprocessing
from spikesight.losses import (
    DistillationConfig,
    attention_similarity_loss,
    hard_label_loss,
    soft_label_loss,
)
from spikesight.training import TrainConfig, Trainer, TrainingInterrupted, train
from spikesight.training.distillation import Distillation
from spikesight.training.runs.card import Card
from spikesight.training.teachers import build_teacher
from tests.training.conftest import stop_after

from .child import start_pair

Build = Callable[..., TrainConfig]
VIT = "timm:test_vit"


@pytest.fixture
def twin(tiny: Build) -> str:
    """Folder of a trained ANN twin."""
    return str(train(tiny("twin", epochs=1, model__neuron="relu")).folder)


@pytest.fixture
def vit_weights(tmp_path: Path) -> str:
    """Weights of timm's smallest vision transformer, with ten classes."""
    torch.manual_seed(3)
    model = timm.create_model("test_vit", num_classes=10)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    return str(tmp_path / "vit.safetensors")


def first_batch(trainer: Trainer) -> tuple[torch.Tensor, torch.Tensor]:
    trainer.loaders.train.set_epoch(0)
    images, labels = next(iter(trainer.loaders.train))
    return trainer.loaders.batch_transform_eval(images, None), labels


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"logits": "soft", "temperature": 2.0}, 0.5),
        ({"logits": "hard", "logits_share": 0.3}, 0.3),
        ({"attention": True, "attention_weight": 0.7}, 0.0),
        ({"logits": "soft", "attention": True, "temperature": 2.0}, 0.5),
    ],
)
def test_the_loss_is_the_sum_of_its_parts(
    tiny: Build, twin: str, settings: dict[str, Any], share: float
) -> None:
    trainer = Trainer(tiny(distillation={"teacher": twin, **settings}, model__drop_path_rate=0.0))
    images, labels = first_batch(trainer)
    teacher = Trainer(tiny("t", model__weights=twin, model__neuron="relu")).model.eval()
    theirs = SpikingAttentionRecorder(teacher, 1)
    with torch.no_grad():
        teacher_logits = teacher(images)
    ours = SpikingAttentionRecorder(trainer.model, 1)
    logits = trainer.model.train()(images)
    expected = torch.nn.functional.cross_entropy(logits, labels)
    if "logits" in settings:
        learned = (
            soft_label_loss(logits, teacher_logits, 2.0)
            if settings["logits"] == "soft"
            else hard_label_loss(logits, teacher_logits)
        )
        expected = (1 - share) * expected + share * learned
    if settings.get("attention"):
        weight = settings.get("attention_weight", 2.0)
        expected = expected + weight * attention_similarity_loss(ours.take(), theirs.take())
    torch.testing.assert_close(trainer.objective(images, logits, labels), expected)


@pytest.mark.parametrize("settings", [{"logits": "soft"}, {"logits": "hard"}, {"attention": True}])
def test_each_switch_trains(tiny: Build, twin: str, settings: dict[str, Any]) -> None:
    trainer = Trainer(tiny(epochs=1, limit_batches=2, distillation={"teacher": twin, **settings}))
    names = trainer.model.state_dict().keys()
    before = trainer.model.head.linear.weight.clone()
    assert math.isfinite(trainer.run().last.loss)
    assert not torch.equal(trainer.model.head.linear.weight, before)
    saved = load_file(trainer.folder / "last" / "model.safetensors")
    assert saved.keys() == names, "the teacher is not saved"
    for module in trainer.model.modules():
        assert not module._forward_pre_hooks, "the hooks vanish with the run"


def test_the_teacher_stays_as_it_is(tiny: Build, twin: str) -> None:
    trainer = Trainer(
        tiny(epochs=1, limit_batches=2, distillation={"teacher": twin, "attention": True})
    )
    distillation = trainer.objective._distillation
    assert distillation is not None
    teacher = distillation._teacher
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    trainer.run()
    assert not teacher.model.training
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_vision_transformer_teaches_in_bf16(tiny: Build, vit_weights: str) -> None:
    """Grey 8x8 images, two layers of the student and six of the teacher, mixed in bf16."""
    config = tiny(
        epochs=1,
        limit_batches=2,
        batch_size=4,
        accumulation=2,
        precision="bf16",
        channels_last=True,
        mix__mixup=0.5,
        ema__decay=0.9,
        model__steps=2,
        firing_rate__weight=0.1,
        distillation={
            "teacher": VIT,
            "teacher_weights": vit_weights,
            "logits": "soft",
            "attention": True,
        },
    )
    assert math.isfinite(train(config).last.loss)


def test_the_teacher_sees_images_as_it_learned_them(tiny: Build, vit_weights: str) -> None:
    trainer = Trainer(
        tiny(distillation={"teacher": VIT, "teacher_weights": vit_weights, "logits": "hard"})
    )
    images, _ = first_batch(trainer)
    distillation = trainer.objective._distillation
    assert distillation is not None
    seen: list[torch.Tensor] = []
    teacher = distillation._teacher
    teacher.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    teacher(images[:2])
    preprocessing = trainer.loaders.preprocessing
    raw = images[:2] * preprocessing.std[0] + preprocessing.mean[0]
    expected = torch.nn.functional.interpolate(
        (raw.expand(-1, 3, -1, -1) - 0.5) / 0.5, (160, 160), mode="bilinear"
    )
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)


def test_a_teacher_that_is_infinite_for_an_image_says_nothing_of_it() -> None:
    torch.manual_seed(0)
    own, said = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5)
    said[1, 2] = math.nan
    config = DistillationConfig(teacher="twin", logits="soft")

    def teacher(images: torch.Tensor) -> Any:
        return SimpleNamespace(logits=said)

    distillation = Distillation(config, nn.Module(), teacher)  # type: ignore[arg-type]
    distillation(torch.zeros(3, 1), own, torch.zeros(())).backward()
    assert own.grad is not None
    assert own.grad[1].abs().max() < 1e-7
    assert own.grad[[0, 2]].abs().min() > 1e-4


@pytest.mark.parametrize("stop", [2, 5])
def test_resume_equals_uninterrupted(tiny: Build, twin: str, stop: int) -> None:
    recipe = {
        "distillation": {"teacher": twin, "logits": "soft", "attention": True},
        "mix__mixup": 0.3,
    }
    straight = train(tiny("straight", **recipe))
    broken = tiny("broken", resume=True, **recipe)
    with pytest.raises(TrainingInterrupted):
        train(broken, stop_after(stop))
    resumed = train(broken)
    assert resumed.last.loss == straight.last.loss
    for name in ("model", "training"):
        expected = load_file(straight.folder / "last" / f"{name}.safetensors")
        got = load_file(resumed.folder / "last" / f"{name}.safetensors")
        assert all(torch.equal(tensor, got[key]) for key, tensor in expected.items())


def test_runs_from_before_distillation_go_on(tiny: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = TrainConfig.to_mapping

    def older(self: TrainConfig) -> dict[str, Any]:
        return {k: v for k, v in mapping(self).items() if k != "distillation"}

    with monkeypatch.context() as patch:
        patch.setattr(TrainConfig, "to_mapping", older)
        train(tiny(epochs=1))
    train(tiny(epochs=2, resume=True))


def test_two_processes_learn_from_a_teacher(tiny: Build, twin: str, tmp_path: Path) -> None:
    config = tiny(epochs=1, distillation={"teacher": twin, "logits": "soft", "attention": True})
    path = tmp_path / "config.yaml"
    path.write_text(config.dump())
    processes = start_pair(["train", str(path)], tmp_path / "log")
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0], (tmp_path / "log.0").read_text()
    assert (Path(config.output) / "best" / "model.safetensors").exists()


def test_teachers_that_do_not_fit(
    tiny: Build, twin: str, vit_weights: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def build(**distillation: Any) -> Trainer:
        return Trainer(tiny(distillation=distillation))

    with pytest.raises(FileNotFoundError, match="no trained model in nowhere"):
        build(teacher="nowhere", logits="soft")
    with pytest.raises(ValueError, match=r"timm has no model 'vit_mini'; near: .*vit_"):
        build(teacher="timm:vit_mini", attention=True)
    with pytest.raises(FileNotFoundError, match="there is no file nothing"):
        build(teacher=VIT, teacher_weights="nothing", attention=True)
    with pytest.raises(ValueError, match=r"does not fit timm:test_resnet"):
        build(teacher="timm:test_resnet", teacher_weights=vit_weights, logits="soft")
    broken = load_file(vit_weights) | {"norm.bias": torch.full((64,), torch.nan)}
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(ValueError, match=r"broken\.safetensors .*norm\.bias holds NaN"):
        build(teacher=VIT, teacher_weights=str(tmp_path / "broken.safetensors"), attention=True)
    with pytest.raises(ValueError, match="takes 1 channels but the student 3"):
        Trainer(tiny(distillation={"teacher": twin, "logits": "soft"}, data__channels=3))

    resnet = tmp_path / "resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), resnet)
    with pytest.raises(ValueError, match=r"test_resnet has no attention that can be read"):
        build(teacher="timm:test_resnet", teacher_weights=str(resnet), attention=True)
    with pytest.raises(ValueError, match=r"has 1000 classes but the student 10"):
        build(teacher="timm:test_resnet", teacher_weights=str(resnet), logits="hard")

    def offline(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"timm:test_vit could not be had: no network; pass a fil"):
        build(teacher=VIT, attention=True)


def test_a_twin_of_other_classes_teaches_no_logits(tiny: Build, twin: str) -> None:
    card = Path(twin) / "best" / "run.json"
    card.write_text(card.read_text().replace('"9"', '"nine"'))
    with pytest.raises(ValueError, match=r"trained on other classes than the data's"):
        Trainer(tiny(distillation={"teacher": twin, "logits": "soft"}))
    Trainer(tiny(distillation={"teacher": twin, "attention": True}))


class _Payload:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_code_in_a_teachers_weights_does_not_run(tmp_path: Path, monkeypatch: Any) -> None:
    # As the lowest timm that is allowed: whoever passes nothing gets pickle without restraint.
    load = torch.load

    def unrestrained(*arguments: Any, **options: Any) -> Any:
        options.setdefault("weights_only", False)
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", unrestrained)
    file, ran = tmp_path / "teacher.pth", tmp_path / "ran"
    torch.save({"state_dict": {"head.weight": torch.zeros(2, 64)}, "more": _Payload(ran)}, file)
    config = DistillationConfig(teacher=VIT, teacher_weights=str(file), logits="soft")
    with pytest.raises(ValueError, match=r"teacher.pth"):
        build_teacher(config, _photos(32), 2)
    assert not ran.exists()


def _photos(size: int) -> Preprocessing:
    return Preprocessing(size, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("a", "b"))


def _teacher_folder(folder: Path, own: Preprocessing | EventPreprocessing, **arguments: int) -> str:
    model = ss.create_model("metaspikformer_nano", num_classes=2, **arguments).eval()
    model.save_pretrained(folder / "best")
    Card(DataConfig(), own, 1, "model", None).write(folder / "best")
    return str(folder)


def test_a_teacher_sees_photos_at_its_own_size(tmp_path: Path) -> None:
    config = DistillationConfig(teacher=_teacher_folder(tmp_path, _photos(96)), logits="soft")
    teacher = build_teacher(config, _photos(32), 2)
    assert teacher is not None
    assert teacher.size == (96, 96)
    x = torch.rand(2, 3, 32, 32)
    wide = torch.nn.functional.interpolate(x, (96, 96), mode="bilinear", antialias=True)
    assert torch.equal(teacher(x).logits, teacher.model(wide))
    same = build_teacher(config, _photos(96), 2)
    assert same is not None
    assert same.size is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"slicing": "time"}, "data.events.slicing"),
        ({"max_count": 1}, "data.events.max_count"),
        ({"sensor": (34, 34)}, "data.events.sensor"),
        ({"saccades": True}, "data.events.saccades"),
        ({"image_size": 64}, "data.image_size"),
    ],
)
def test_a_teacher_of_other_frames_is_refused(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    student = EventPreprocessing(32, 2, 2, classes=("a", "b"))
    folder = _teacher_folder(tmp_path, replace(student, **changes), in_channels=2, steps=2)
    config = DistillationConfig(teacher=folder, logits="soft")
    with pytest.raises(ValueError, match=named):
        build_teacher(config, student, 2)
