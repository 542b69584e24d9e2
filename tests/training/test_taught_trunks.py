"""Segmenters and detectors learn the attention of a teacher's trunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

import spikesight as ss
from spikesight.attention import SpikingAttentionRecorder
from spikesight.data import DataConfig, Preprocessing
from spikesight.inference import semantic_scores
from spikesight.losses import attention_similarity_loss, class_logits, soft_label_loss
from spikesight.segmentation_outputs import Segmentation
from spikesight.training import TrainConfig, Trainer, from_mapping, train
from spikesight.training.runs.card import Card

WIDTHS = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}
TRUNK = {**WIDTHS, "separable_kernel": 3, "strides": [2, 2, 2, 1, 1]}
FPN = {
    "name": "semantic_fpn_nano",
    "arguments": {"trunk_options": TRUNK, "width": 8, "head_width": 8},
}
QUERIES = {
    "name": "spike2former_nano",
    "arguments": {
        "trunk_options": TRUNK,
        "width": 16,
        "heads": 2,
        "queries": 4,
        "encoder_layers": 1,
        "encoder_hidden": 16,
        "groups": 2,
        "decoder_layers": 1,
        "decoder_hidden": 16,
    },
}


def short(folder: Path, output: str, model: dict[str, Any], **changes: Any) -> TrainConfig:
    scenes = {
        "format": "digit_scenes",
        "crop_size": [32, 48],
        "scenes": 8,
        "validation_scenes": 4,
    }
    values = {
        "task": "semantic",
        "model": model,
        "output": str(folder / output),
        "scenes": scenes,
        "segmentation": {"loss": {"points": 64} if model["name"] == QUERIES["name"] else {}},
        "schedule": {"warmup_epochs": 0},
        "epochs": 1,
        "batch_size": 4,
        "limit_batches": 2,
        **changes,
    }
    return from_mapping(TrainConfig, values)


@pytest.fixture
def twin(tmp_path: Path) -> str:
    """Folder of a trained ANN twin of the segmenter of pixels."""
    return str(train(short(tmp_path, "twin", {**FPN, "neuron": "relu"})).folder)


@pytest.mark.parametrize("model", [FPN, QUERIES], ids=lambda model: str(model["name"]))
def test_the_trunks_attention_is_added_to_the_loss(
    model: dict[str, Any], twin: str, tmp_path: Path
) -> None:
    taught = {"teacher": twin, "attention": True, "attention_weight": 0.7}
    trainer = Trainer(short(tmp_path, "student", model, distillation=taught))
    trainer.task.train.set_epoch(0)
    batch = trainer.task.prepare(*next(iter(trainer.task.train)), 0, 0)
    trunk, theirs = trainer.model.trunk, ss.load(f"{twin}/last").trunk
    recorders = [SpikingAttentionRecorder(part, 1) for part in (trunk, theirs)]  # type: ignore[arg-type]
    output = trainer.model.train()(batch.images)
    theirs(batch.images)  # type: ignore[operator]
    similarity = attention_similarity_loss(*(recorder.take() for recorder in recorders))
    torch.manual_seed(1)
    alone = trainer.objective.task_loss(batch.images, output, batch.targets)
    torch.manual_seed(1)
    loss = trainer.objective(batch.images, output, batch.targets)
    assert float(similarity.detach()) > 0.1
    torch.testing.assert_close(loss, alone + 0.7 * similarity)


def test_a_taught_segmenter_of_four_bits_trains(twin: str, tmp_path: Path) -> None:
    config = short(
        tmp_path,
        "student",
        {**FPN, "neuron": "ie_lif", "bits": 4},
        distillation={"teacher": twin, "attention": True},
    )
    trainer = Trainer(config)
    trainer.run()
    for module in trainer.model.modules():
        assert not module._forward_pre_hooks, "the hooks vanish with the run"


def test_classifiers_and_models_of_timm_teach_segmenters(tmp_path: Path) -> None:
    classifier = ss.create_model("metaspikformer_nano", num_classes=2, neuron="relu", **TRUNK)
    classifier.save_pretrained(tmp_path / "classifier" / "best")
    photos = Preprocessing(32, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("a", "b"))
    Card(DataConfig(), photos, 1, "model", None).write(tmp_path / "classifier" / "best")
    vit = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", num_classes=10).state_dict(), vit)
    teachers: list[dict[str, Any]] = [
        {"teacher": str(tmp_path / "classifier")},
        {"teacher": "timm:test_vit", "teacher_weights": str(vit)},
    ]
    for number, teacher in enumerate(teachers):
        taught = {**teacher, "attention": True}
        trainer = Trainer(short(tmp_path, str(number), FPN, distillation=taught))
        trainer.task.train.set_epoch(0)
        batch = trainer.task.prepare(*next(iter(trainer.task.train)), 0, 0)
        output = trainer.model.train()(batch.images)
        loss = trainer.objective(batch.images, output, batch.targets)
        alone = trainer.objective.task_loss(batch.images, output, batch.targets)
        assert float((loss - alone).detach()) > 0.1
        loss.backward()
        trainer.objective.close()


BOXES = {
    "name": "spike_det_nano",
    "arguments": {"trunk_options": TRUNK, "finest": 4, "width": 8, "depth": 1},
}


def detector(folder: Path, output: str, model: dict[str, Any], **changes: Any) -> TrainConfig:
    objects = {
        "format": "digit_scenes",
        "image_size": [32, 64],
        "background": "dark",
        "scenes": 8,
        "validation_scenes": 4,
    }
    values = {
        "task": "detection",
        "model": model,
        "objects": objects,
        "output": str(folder / output),
        "schedule": {"warmup_epochs": 0},
        "epochs": 1,
        "batch_size": 4,
        "limit_batches": 2,
        **changes,
    }
    return from_mapping(TrainConfig, values)


def test_a_detector_learns_from_its_twin_and_from_a_segmenter(twin: str, tmp_path: Path) -> None:
    own = detector(tmp_path, "own", {**BOXES, "neuron": "relu"})
    for number, teacher in enumerate((twin, str(train(own).folder))):
        taught = {"teacher": teacher, "attention": True}
        trainer = Trainer(detector(tmp_path, str(number), BOXES, distillation=taught))
        trainer.task.train.set_epoch(0)
        batch = trainer.task.prepare(*next(iter(trainer.task.train)), 0, 0)
        output = trainer.model.train()(batch.images)
        loss = trainer.objective(batch.images, output, batch.targets)
        alone = trainer.objective.task_loss(batch.images, output, batch.targets)
        assert float((loss - alone).detach()) > 0.1
        trainer.run()


def test_mask_r_cnn_learns_from_the_trunk_of_a_segmenter(twin: str, tmp_path: Path) -> None:
    sizes = {"width": 8, "box_hidden": 16, "mask_layers": 1, "proposals": 20, "regions": 16}
    model = {"name": "mask_rcnn_nano", "arguments": {"trunk_options": TRUNK, **sizes}}
    losses = [
        train(detector(tmp_path, str(number), model, task="instances", **taught)).folder
        for number, taught in enumerate(
            ({}, {"distillation": {"teacher": twin, "attention": True, "attention_weight": 100.0}})
        )
    ]
    alone, together = ((folder / "metrics.csv").read_text().splitlines()[-1] for folder in losses)
    assert float(together.split(",")[1]) > float(alone.split(",")[1]) + 10


def events(folder: Path, output: str, max_count: int, **changes: Any) -> TrainConfig:
    objects = {
        "format": "moving_digits",
        "image_size": [32, 48],
        "scenes": 8,
        "validation_scenes": 4,
        "events": {"frames": 2, "max_count": max_count},
    }
    return detector(folder, output, {**BOXES, "steps": 2}, objects=objects, **changes)


def test_detectors_in_events_learn_from_the_same_frames(twin: str, tmp_path: Path) -> None:
    teacher = str(train(events(tmp_path, "teacher", 127)).folder)
    taught = {"teacher": teacher, "attention": True}
    train(events(tmp_path, "student", 127, distillation=taught))
    with pytest.raises(ValueError, match=r"pass objects\.events\.max_count=127"):
        Trainer(events(tmp_path, "other", 7, distillation=taught))
    with pytest.raises(ValueError, match=r"learned from 0 frames of events"):
        Trainer(events(tmp_path, "photos", 7, distillation={**taught, "teacher": twin}))
    with pytest.raises(ValueError, match="takes photos and the data are events"):
        Trainer(events(tmp_path, "timm", 7, distillation={**taught, "teacher": "timm:test_vit"}))


@pytest.mark.parametrize(
    ("distillation", "message"),
    [
        ({"teacher": "absent", "attention": True}, "no trained model in absent"),
        ({"teacher": "timm:resent", "attention": True}, "timm has no model"),
        ({"teacher": "timm:test_vit", "logits": "soft"}, "classifies photos and task is semantic"),
    ],
)
def test_what_cannot_be_taught_is_refused(
    distillation: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Trainer(short(tmp_path, "student", FPN, distillation=distillation))


@pytest.mark.parametrize("model", [FPN, QUERIES], ids=lambda model: str(model["name"]))
def test_the_classes_of_pixels_are_added_to_the_loss(
    model: dict[str, Any], twin: str, tmp_path: Path
) -> None:
    taught = {"teacher": twin, "logits": "soft", "logits_share": 0.25, "temperature": 2.0}
    trainer = Trainer(short(tmp_path, "student", model, distillation=taught))
    trainer.task.train.set_epoch(0)
    batch = trainer.task.prepare(*next(iter(trainer.task.train)), 0, 0)
    output = trainer.model.train()(batch.images)
    torch.manual_seed(0)  # the loss may compare masks at points that are drawn
    loss = trainer.objective(batch.images, output, batch.targets)
    torch.manual_seed(0)
    labels = trainer.objective.task_loss(batch.images, output, batch.targets)
    theirs = ss.load(f"{twin}/last")(batch.images).pixel_logits
    learned = soft_label_loss(class_logits(output), theirs, 2.0)
    assert learned > 0
    torch.testing.assert_close(loss, 0.75 * labels + 0.25 * learned)


def test_classified_masks_say_the_classes_of_pixels() -> None:
    torch.manual_seed(0)
    output = Segmentation(torch.randn(2, 3, 5), torch.randn(2, 3, 4, 6))
    order = [2, 0, 1]
    other = Segmentation(output.class_logits[:, order], output.mask_logits[:, order])
    scores = class_logits(output)
    assert scores.shape == (2, 4, 4, 6)
    torch.testing.assert_close(class_logits(other), scores)
    torch.testing.assert_close(scores.exp(), semantic_scores(output, (4, 6), (4, 6)))


def test_boxes_are_no_answers_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is for classifiers and segmenters"):
        detector(tmp_path, "student", BOXES, distillation={"teacher": "x", "logits": "soft"})


def test_hidden_patches_teach_nothing(tmp_path: Path) -> None:
    hidden = {
        "task": "masked_image",
        "model": {"name": "metaspikformer_nano", "arguments": WIDTHS | {"separable_kernel": 3}},
        "data": {"format": "digits", "image_size": 16},
        "output": str(tmp_path / "hidden"),
        "schedule": {"warmup_epochs": 0},
        "epochs": 1,
        "limit_batches": 1,
        "batch_size": 8,
    }
    folder = train(from_mapping(TrainConfig, hidden)).folder
    taught = {"teacher": str(folder), "attention": True}
    with pytest.raises(ValueError, match="hides most of what it sees"):
        Trainer(short(tmp_path, "student", FPN, distillation=taught))
    hidden |= {"output": str(tmp_path / "taught"), "distillation": taught}
    with pytest.raises(ValueError, match=r"distillation\.teacher does not go with"):
        train(from_mapping(TrainConfig, hidden))
