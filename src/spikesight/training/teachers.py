"""Teachers: trained models of this library and models of timm, behind one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import timm
import torch
from timm.models import load_checkpoint, load_state_dict
from torch import Tensor, nn
from torch.nn.functional import interpolate

from spikesight.attention import AttentionRecorder, AttentionTensors, SpikingAttentionRecorder
from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.errors import UserError
from spikesight.files.tensors import can_compute
from spikesight.interop.timm_attention import TimmAttentionRecorder
from spikesight.losses import DistillationConfig
from spikesight.models import SpikingModel, StageFeatures
from spikesight.pretrained import load
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import resolve_model_folder
from spikesight.training.tasks.table import find_task

_TIMM = "timm:"


class Preparation(Protocol):
    """What a teacher asks of the preprocessing that makes the student's images."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel of images in 0..1."""
        ...

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel of images in 0..1."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the images."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        ...


@dataclass(frozen=True)
class TeacherOutput:
    """What a teacher says about a batch; nothing in it has a gradient.

    Attributes:
        logits: What it answers: [B, K] of a classifier; the maps of a trunk alone.
        attention: Its attention layers in order, if they are read.
    """

    logits: Any
    attention: list[AttentionTensors]


class Teacher(nn.Module):
    """A trained model that takes the student's images and never changes.

    Args:
        model: The model; its parameters stop asking for gradients.
        recorder: Reads its attention, if wanted.
        student: How the images of the student were normalised.
        mean: What the model wants subtracted from images in 0..1, per channel.
        std: What the model wants them divided by, per channel.
        size: Height and width that the model is given; those of the student's images if None.
    """

    gain: Tensor
    shift: Tensor

    def __init__(
        self,
        model: nn.Module,
        recorder: AttentionRecorder | None,
        student: Preparation,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.size = size
        self._recorder = recorder
        self._same = (tuple(student.mean), tuple(student.std)) == (tuple(mean), tuple(std))
        self.register_buffer("gain", _column(student.std) / _column(std))
        self.register_buffer("shift", (_column(student.mean) - _column(mean)) / _column(std))

    @torch.no_grad()
    def forward(self, images: Tensor) -> TeacherOutput:
        """What the teacher says about a batch of the student.

        Args:
            images: The student's input, [B, C, H, W] or [B, T, C, H, W]; grey images become
                colour where the teacher takes colour.
        """
        if not self._same:
            images = images * self.gain + self.shift
        if self.size is not None and tuple(images.shape[-2:]) != self.size:
            images = interpolate(images, self.size, mode="bilinear", antialias=True)
        logits = self.model(images)
        return TeacherOutput(logits, [] if self._recorder is None else self._recorder.take())

    def train(self, mode: bool = True) -> Teacher:
        """Stays in evaluation mode."""
        return super().train(False)

    def close(self) -> None:
        """Takes the hooks off the model."""
        if self._recorder is not None:
            self._recorder.close()


def attending_part(model: SpikingModel) -> SpikingModel | StageFeatures:
    """The part of a model whose attention is taught: the trunk under a head that reads its maps."""
    trunk = getattr(model, "trunk", None)
    return trunk if isinstance(trunk, StageFeatures) else model


def build_teacher(
    config: DistillationConfig,
    preprocessing: Preparation,
    outputs: int,
    task: str = "classification",
) -> Teacher | None:
    """The teacher of a run.

    Args:
        config: What is learned.
        preprocessing: What makes the student's images.
        outputs: Classes of the student.
        task: The student's.

    Returns:
        The teacher on the CPU; None if there is none.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If the teacher cannot be had, has other classes while its logits are wanted, or
            no attention that can be read while that is wanted.
    """
    if config.teacher is None:
        return None
    check_teacher(config, _frames(preprocessing) > 0, task)
    if config.teacher.startswith(_TIMM):
        return _timm_teacher(config, preprocessing, outputs)
    return _spiking_teacher(config, preprocessing, outputs)


def check_teacher(config: DistillationConfig, holds_events: bool, task: str) -> None:
    """Refuses a teacher that is not there, before it or the data are read.

    Classifiers learn from classifiers, segmenters the classes of pixels from segmenters; whoever
    learns attention alone, from any trunk.

    Args:
        config: What is learned.
        holds_events: Whether the student looks at events.
        task: The student's.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If timm has no such model, or it cannot look at events, or the run is of a model
            that guesses hidden patches.
    """
    if config.teacher is None:
        return
    if not config.teacher.startswith(_TIMM):
        own = find_task(task)
        classifies = issubclass(own, find_task("classification"))
        folder = resolve_model_folder(config.teacher)
        card = Card.read(folder, "classification" if classifies else None)
        if config.logits != "none" and card.kind.section != own.section:
            raise UserError(
                f"distillation.teacher {folder} is {card.kind.called}, whose answers {own.called} "
                f"cannot learn; pass the run of {own.called} or distillation.logits=none"
            )
        if issubclass(card.kind, find_task("masked_image")):
            raise UserError(
                f"distillation.teacher {folder} is {card.kind.called}, which hides most of what "
                "it sees; pass the run of another model"
            )
        return
    if config.logits != "none" and not issubclass(find_task(task), find_task("classification")):
        raise UserError(
            f"distillation.teacher {config.teacher} classifies photos and task is {task}; pass "
            "the folder of a segmenter's run or distillation.logits=none"
        )
    if holds_events:
        raise UserError(
            f"distillation.teacher {config.teacher} takes photos and the data are events; pass "
            "the folder of a run on such data"
        )
    name = config.teacher.removeprefix(_TIMM)
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0].split('.')[0]}*")[:10])
        raise UserError(
            f"distillation.teacher is {config.teacher} but timm has no model {name!r}"
            + (f"; near: {near}" if near else "; timm.list_models() lists them")
        )
    file = config.teacher_weights
    if file is not None and not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}; see distillation.teacher_weights")


def _spiking_teacher(
    config: DistillationConfig, preprocessing: Preparation, outputs: int
) -> Teacher:
    assert config.teacher is not None
    folder = resolve_model_folder(config.teacher)
    own = Card.read(folder).preprocessing
    model = load(folder)
    if _frames(own) != _frames(preprocessing):
        raise UserError(
            f"distillation.teacher {folder} learned from {_frames(own)} frames of events per "
            f"sample and the student from {_frames(preprocessing)} (0: from photos); pass a "
            "teacher trained on such data"
        )
    if _frames(own):
        _check_same_frames(str(folder), own, preprocessing)
    if own.channels != preprocessing.channels:
        raise UserError(
            f"distillation.teacher {folder} takes {own.channels} channels but the student "
            f"{preprocessing.channels}; pass a teacher trained on such images or data.channels"
        )
    if config.logits != "none":
        if own.classes != preprocessing.classes:
            raise UserError(
                f"distillation.teacher {folder} was trained on other classes than the data's, so "
                "its logits mean something else; pass another teacher or distillation.logits=none"
            )
        _check_outputs(str(folder), model.recipe["arguments"]["num_classes"], outputs)
    part = model if config.logits != "none" else attending_part(model)
    recorder = SpikingAttentionRecorder(part, model.steps) if config.attention else None
    size = _own_size(own, preprocessing)
    return Teacher(part, recorder, preprocessing, tuple(own.mean), tuple(own.std), size)


def _own_size(own: Preparation, student: Preparation) -> tuple[int, int] | None:
    """The size at which a classifier teaches a classifier; other students are seen as they are."""
    kinds = (Preprocessing, EventPreprocessing)
    if not isinstance(own, kinds) or not isinstance(student, kinds):
        return None
    return None if own.image_size == student.image_size else (own.image_size, own.image_size)


def _check_same_frames(teacher: str, own: Preparation, student: Preparation) -> None:
    """Frames of events cannot be made again from others, as photos can be resized."""
    fields = ["slicing", "max_count", "sensor"]
    section = "objects"
    if isinstance(student, EventPreprocessing):
        section = "data"
        fields = ["image_size", "slicing", "max_count", "saccades", "sensor"]
        if isinstance(own, EventPreprocessing) and own.saccades and student.saccades:
            fields.append("threshold")
    for field in fields:
        learned, given = getattr(own, field), getattr(student, field)
        if learned != given:
            option = f"{section}.{'' if field == 'image_size' else 'events.'}{field}"
            raise UserError(
                f"distillation.teacher {teacher} learned with {option}={learned} and the student "
                f"is trained with {given}; pass {option}={learned}, or a teacher trained on such "
                "frames"
            )


def _timm_teacher(config: DistillationConfig, preprocessing: Preparation, outputs: int) -> Teacher:
    assert config.teacher is not None
    name, teacher = config.teacher.removeprefix(_TIMM), config.teacher
    if config.teacher_weights is None:
        try:
            model: Any = timm.create_model(name, pretrained=True)
        except Exception as error:
            raise UserError(
                f"the published weights of {teacher} could not be had: {error}; pass a file as "
                "distillation.teacher_weights, or try again with a network"
            ) from error
    else:
        model = _with_weights(name, Path(config.teacher_weights))
    if config.logits != "none":
        _check_outputs(teacher, model.num_classes, outputs)
    recorder = TimmAttentionRecorder(model, teacher) if config.attention else None
    own = model.pretrained_cfg
    size = (own["input_size"][1], own["input_size"][2])
    return Teacher(model, recorder, preprocessing, tuple(own["mean"]), tuple(own["std"]), size)


def _frames(preprocessing: Preparation) -> int:
    frames: int = getattr(preprocessing, "frames", 0)
    return frames


def _with_weights(name: str, file: Path) -> Any:
    """A timm model with weights from a file, whose classifier says the number of classes."""
    try:
        settings: Any = timm.get_pretrained_cfg(name)
        # timm 1.0.20 runs code that a file holds unless it is told not to.
        head = load_state_dict(str(file), weights_only=True).get(f"{settings.classifier}.weight")
        sizes: dict[str, Any] = {} if head is None else {"num_classes": len(head)}
        model: Any = timm.create_model(name, **sizes)
        load_checkpoint(model, str(file), weights_only=True)
        for part, tensor in model.state_dict().items():
            if not can_compute(tensor):
                raise UserError(f"{part} holds NaN, infinity or a number that is all but infinite")
        return model
    except Exception as error:
        raise UserError(
            f"distillation.teacher_weights {file} does not fit timm:{name}: {error}"
        ) from error


def _check_outputs(teacher: str, own: int, outputs: int) -> None:
    if own != outputs:
        raise UserError(
            f"distillation.teacher {teacher} has {own} classes but the student {outputs}, so its "
            "logits cannot be learned; pass a teacher with the same classes (for timm: "
            "distillation.teacher_weights) or distillation.logits=none"
        )


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)
