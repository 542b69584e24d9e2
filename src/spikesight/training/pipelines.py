"""From a trained model to answers with names: one call for photos, arrays and recordings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.data.detection import EventObjectPreprocessing, ObjectPreprocessing
from spikesight.data.segmentation import ScenePreprocessing
from spikesight.deployment.deployed_model import DeployedModel
from spikesight.deployment.network import Deployed
from spikesight.errors import UserError
from spikesight.files.documents import parse_json
from spikesight.files.tensors import COPY_AGAIN
from spikesight.inference import DetectionConfig, ViewConfig
from spikesight.models import SpikingModel
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.base import Pipeline

Objects = ObjectPreprocessing | EventObjectPreprocessing
Steps = Preprocessing | EventPreprocessing | ScenePreprocessing | Objects


def pipeline(
    model: str | os.PathLike[str] | SpikingModel | Deployed,
    *,
    run: str | os.PathLike[str] | None = None,
    preprocessing: Steps | None = None,
    labels: Sequence[str] | None = None,
    device: Literal["auto", "cpu"] = "auto",
) -> Pipeline:
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
        segmenter with segments, a detector with boxes.

    Raises:
        FileNotFoundError: If there is no trained model.
        UserError: If nothing says how inputs are prepared, or the model gives no such answers.
    """
    if isinstance(labels, str):
        raise UserError(f"labels is the text {labels!r}; pass a list of names")
    if not isinstance(preprocessing, Steps | None):
        raise UserError(
            f"preprocessing is a {type(preprocessing).__name__}; pass a Preprocessing, "
            "EventPreprocessing, ScenePreprocessing or ObjectPreprocessing"
        )
    card = _described(preprocessing)
    if isinstance(model, str | os.PathLike):
        place = Path(model)
        if card is None:
            card = Card.read(card_of(place, None if run is None else Path(run)))
        network = load_any(place)
    elif isinstance(model, Deployed | nn.Module):
        if card is None:
            card = _card_of(model) if run is None else Card.read(card_of(Path(run)))
        network = DeployedModel(model) if isinstance(model, Deployed) else model.eval()
    else:
        raise UserError(
            f"model is a {type(model).__name__}; pass a folder, a .spk file, a model or a deployed "
            "network"
        )
    if isinstance(preprocessing, Objects) and getattr(network, "gives", "") == "instances":
        card = replace(card, task="instances")
    place_of = build_accelerator(device=device).device
    return card.kind.pipeline(network.to(place_of), card, labels, place_of)


def _described(steps: Steps | None) -> Card | None:
    """A card that says how inputs are prepared and nothing else."""
    if isinstance(steps, Objects):
        return Card(None, steps, 0, "model", None, "detection", view=DetectionConfig())
    if not isinstance(steps, ScenePreprocessing):
        return None if steps is None else Card(None, steps, 0, "model", None)
    task = "panoptic" if steps.table.things else "semantic"
    return Card(None, steps, 0, "model", None, task, view=ViewConfig())


def _card_of(model: nn.Module | Deployed) -> Card:
    content = getattr(model, "card", None)
    if isinstance(content, str):
        content = parse_json(content, dict[str, Any], "the network's card", remedy=COPY_AGAIN)
    if content is None:
        raise UserError(
            "the model does not say how its inputs are prepared; pass run=FOLDER with the run that "
            "it is from, or preprocessing="
        )
    return Card.parse(content, "the model's card")
