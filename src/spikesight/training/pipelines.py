"""From a trained model to answers with names: one call for photos, arrays and recordings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.data.events import Events
from spikesight.data.photos.decoding import decode, read_image_file, to_plain
from spikesight.data.photos.preprocessing import fit, to_tensor
from spikesight.data.segmentation import ScenePreprocessing, extent
from spikesight.deployment.deployed_model import DeployedModel
from spikesight.deployment.network import Deployed
from spikesight.errors import UserError
from spikesight.files.documents import parse_json
from spikesight.files.names import show
from spikesight.files.tensors import COPY_AGAIN
from spikesight.inference import ViewConfig
from spikesight.models import SpikingModel
from spikesight.options import check_range
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.segmentation.evaluation import build_view
from spikesight.training.tasks.segmentation.prediction import Segmenter

Steps = Preprocessing | EventPreprocessing | ScenePreprocessing
ItemT = TypeVar("ItemT")

_ITEMS = "pass a file's path, a PIL image or a uint8 array [H, W] or [H, W, 3], or a list of such"


def pipeline(
    model: str | os.PathLike[str] | SpikingModel | Deployed,
    *,
    run: str | os.PathLike[str] | None = None,
    preprocessing: Steps | None = None,
    labels: Sequence[str] | None = None,
    device: Literal["auto", "cpu"] = "auto",
) -> ClassifierPipeline | SegmenterPipeline:
    """Lets a trained model answer with names, in the form of Hugging Face's pipelines.

    Photos are prepared as in training, by the card beside the model (run.json, or within a .spk
    file), which a model of `spikesight.load` knows too.

    Args:
        model: Folder of a run, or its best/ or last/; a saved folder; a .spk file; or a model or a
            deployed network, which is put into evaluation mode and onto the device.
        run: Folder of the run whose card says how inputs are prepared; the model's own if omitted.
        preprocessing: How inputs are prepared, where there is no card.
        labels: Names of the classes in the order of the logits; the card's if omitted.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.

    Returns:
        What is called with photos (or recordings): a classifier answers with labels and scores, a
        segmenter with segments.

    Raises:
        FileNotFoundError: If there is no trained model.
        UserError: If nothing says how inputs are prepared, or the model gives no such answers.
    """
    if isinstance(model, str | os.PathLike):
        place = Path(model)
        card = _described(preprocessing)
        if card is None:
            card = Card.read(card_of(place, None if run is None else Path(run)))
        network = load_any(place)
    else:
        card = _described(preprocessing)
        if card is None:
            card = _card_of(model) if run is None else Card.read(card_of(Path(run)))
        network = DeployedModel(model) if isinstance(model, Deployed) else model.eval()
    if labels is not None:
        card = replace(card, preprocessing=_named(card.preprocessing, tuple(labels)))
    place_of = build_accelerator(device=device).device
    network = network.to(place_of)
    if isinstance(card.preprocessing, ScenePreprocessing):
        seen = build_view(network, card.preprocessing, card.view or ViewConfig())
        panoptic = bool(cast(Any, card.kind).panoptic)
        return SegmenterPipeline(Segmenter(seen, card.preprocessing, panoptic, place_of))
    if card.task == "masked_image":
        raise UserError(f"the model is {card.kind.called} and has no classes; pass another run")
    return ClassifierPipeline(network, card.preprocessing, place_of)


class ClassifierPipeline:
    """Answers with classes; `spikesight.pipeline` makes it.

    Args:
        model: The classifier.
        preprocessing: That of the model.
        device: Where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing | EventPreprocessing,
        device: torch.device,
    ) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self.device = device

    @torch.no_grad()
    def __call__(self, inputs: Any, *, top_k: int = 5, batch_size: int = 64) -> list[Any]:
        """Classifies photos, or recordings if the model learned from events.

        Args:
            inputs: A path, a PIL image (upright as its EXIF says) or a uint8 array [H, W] or
                [H, W, 3], RGB; of recordings a path or `Events`; or a list of such.
            top_k: Most classes of an answer.
            batch_size: Inputs per forward pass.

        Returns:
            For one input [{"label": name, "score": probability}, ...], the most probable first; of
            a list one such answer each.

        Raises:
            UserError: If an input is no such, or cannot be read; names it.
        """
        check_range("top_k", top_k, least=1)
        check_range("batch_size", batch_size, least=1)
        items, alone = _listed(inputs)
        answers: list[list[dict[str, Any]]] = []
        for part in _parts(items, batch_size):
            read = [self._read(item, _name(item, number)) for number, item in part]
            batch = self.preprocessing.batch_transform(torch.stack(read)).to(self.device)
            logits = self.model(batch)
            if not isinstance(logits, Tensor) or logits.ndim != 2:
                raise UserError("the model returns no logits of classes; pass a classifier")
            best = logits.float().softmax(1).topk(min(top_k, logits.shape[1]), dim=1)
            for scores, labels in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                answers.append(
                    [
                        {"label": self._label(label), "score": score}
                        for label, score in zip(labels, scores, strict=True)
                    ]
                )
        return answers[0] if alone else answers

    def _label(self, label: int) -> str:
        names = self.preprocessing.classes
        return names[label] if label < len(names) else str(label)

    def _read(self, item: Any, name: str) -> Tensor:
        steps = self.preprocessing
        if isinstance(steps, Preprocessing):
            return to_tensor(fit(_photo(item, name, steps.channels), *steps.fitting))
        if isinstance(item, Events):
            return steps.make_frames(item, name)
        if not isinstance(item, str | os.PathLike):
            raise UserError(
                f"{name} is a {type(item).__name__} and the model learned from recordings; pass a "
                "recording's path, or what spikesight.read_events returns"
            )
        return steps.read_file(Path(item))


class SegmenterPipeline:
    """Answers with segments; `spikesight.pipeline` makes it.

    Args:
        segmenter: Model, view and preprocessing.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def __call__(self, inputs: Any) -> Any:
        """Segments photos.

        Args:
            inputs: A path, a PIL image (upright as its EXIF says) or a uint8 array [H, W] or
                [H, W, 3], RGB; or a list of such.

        Returns:
            For one photo {"segments": [{"label", "score", "mask", "box", "is_object"}, ...]}, the
            largest first; of a list one such answer each. The mask is a PIL image of the photo's
            size, 255 within the segment; the box has xmin, ymin, xmax and ymax in pixels, the
            latter two exclusive; the score is the class probability of a segment of a panoptic
            segmenter, else None; is_object says whether it is one thing.

        Raises:
            UserError: If an input is no such, or cannot be read; names it.
        """
        items, alone = _listed(inputs)
        answers = [
            self._answer(item, _name(item, number)) for number, item in enumerate(items, start=1)
        ]
        return answers[0] if alone else answers

    def _answer(self, item: Any, name: str) -> dict[str, Any]:
        segmenter = self.segmenter
        truth, scores = segmenter.scored(to_tensor(_photo(item, name, 3)), name)
        numbers, segments = truth.segment_map.numpy(), []
        for number, label in enumerate(truth.segment_classes.tolist()):
            inside: Any = numbers == number
            found = extent(inside)
            if not found["area"]:
                continue
            left, top, width, height = found["bbox"]
            box = {"xmin": left, "ymin": top, "xmax": left + width, "ymax": top + height}
            segment = {
                "label": segmenter.table.names[label],
                "score": None if scores is None else scores[number],
                "mask": Image.fromarray(inside.astype(np.uint8) * 255),
                "box": box,
                "is_object": segmenter.panoptic and label in segmenter.table.things,
            }
            segments.append((found["area"], segment))
        segments.sort(key=lambda pair: -pair[0])
        return {"segments": [segment for _, segment in segments]}


def _described(steps: Steps | None) -> Card | None:
    """A card that says how inputs are prepared and nothing else."""
    if not isinstance(steps, ScenePreprocessing):
        return None if steps is None else Card(None, steps, 0, "model", None)
    task = "panoptic" if steps.table.things else "semantic"
    return Card(None, steps, 0, "model", None, task, view=ViewConfig())


def _card_of(model: SpikingModel | Deployed) -> Card:
    content = model.card
    if isinstance(content, str):
        content = parse_json(content, dict[str, Any], "the network's card", remedy=COPY_AGAIN)
    if content is None:
        raise UserError(
            "the model does not say how its inputs are prepared; pass run=FOLDER with the run that "
            "it is from, or preprocessing="
        )
    return Card.parse(content, "the model's card")


def _named(steps: Any, labels: tuple[str, ...]) -> Any:
    if not isinstance(steps, ScenePreprocessing):
        return replace(steps, classes=labels)
    if len(labels) != len(steps.table.names):
        raise UserError(
            f"labels has {len(labels)} names and the segmenter {len(steps.table.names)} classes; "
            "pass one name per class"
        )
    return replace(steps, table=replace(steps.table, names=labels))


def _listed(inputs: Any) -> tuple[list[Any], bool]:
    """The inputs, and whether it is a single one."""
    alone = not isinstance(inputs, list | tuple)
    return [inputs] if alone else list(inputs), alone


def _parts(items: list[ItemT], size: int) -> Iterator[list[tuple[int, ItemT]]]:
    numbered = list(enumerate(items, start=1))
    for start in range(0, len(items), size):
        yield numbered[start : start + size]


def _name(item: Any, number: int) -> str:
    """What messages call an input."""
    if not isinstance(item, str | os.PathLike):
        return f"input {number}"
    text = os.fspath(item)
    if "://" in text:
        raise UserError(f"{show(text)} is an address, and nothing is fetched; pass a file here")
    return text


def _photo(item: Any, name: str, channels: int) -> Image.Image:
    """One photo as `spikesight predict` reads it, whatever form it is given in."""
    if isinstance(item, str | os.PathLike):
        return decode(read_image_file(item), name, channels)
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim not in (2, 3) or item.shape[2:] not in ((), (3,)):
            raise UserError(
                f"{name} is an array {list(item.shape)} of {item.dtype}; pass uint8 [H, W] (grey) "
                "or [H, W, 3] (RGB), 0 to 255"
            )
        item = Image.fromarray(item)
    if not isinstance(item, Image.Image):
        raise UserError(f"{name} is a {type(item).__name__}; {_ITEMS}")
    return to_plain(item, name, channels)
