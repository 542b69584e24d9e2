"""The demo's second act: a segmenter that comes with the package finds digits in scenes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

import spikesight
from spikesight.costs.models import energy
from spikesight.data.segmentation import Scene, read_scenes
from spikesight.demo.scene_overlays import overlay_of, parted
from spikesight.demo.scenes_part import ScenePictures, SceneResult
from spikesight.inference import ViewConfig, class_map, panoptic_truths, photo_scores
from spikesight.models import SpikingModel
from spikesight.registry import create_model
from spikesight.training.runs.card import Card
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.segmentation.evaluation import build_view
from spikesight.training.tasks.segmentation.task import PanopticTask, SemanticTask

WEIGHTS = Path(str(files("spikesight"))) / "demo" / "shipped" / "digit_scenes"
"""Folder of the segmenter: `configs/digit_scenes_panoptic.yaml` at 4 bits, packed."""
SCENES = 40
_SHOWN = 4


def segment_scenes() -> SceneResult:
    """Shows a segmenter validation scenes of digits, and proves that its integers are its spikes.

    Returns:
        The figures of all scenes, and pictures of the first four, on which it is proved.

    Raises:
        FileNotFoundError: If there is no trained model.
    """
    changes = {"validation_scenes": SCENES, "workers": 0}
    card = Card.read(WEIGHTS).with_data(changes)
    model = spikesight.load(WEIGHTS)
    accelerator = build_accelerator(device="cpu")

    told_apart = PanopticTask.measure(
        model, PanopticTask.evaluation_batches(card, 8, "validation"), card, accelerator
    )
    per_pixel = SemanticTask.measure(
        model, SemanticTask.evaluation_batches(card, 8, "validation"), card, accelerator
    )
    source = read_scenes(card.data, "val")
    shown = [source.read(index) for index in range(_SHOWN)]
    images = card.preprocessing.batch_transform(torch.stack([scene.image for scene in shown]))
    integers = spikesight.deploy(model, images)
    fresh = create_model(model.recipe["name"], **model.recipe["arguments"])
    return SceneResult(
        scenes=SCENES,
        miou=per_pixel.miou,
        panoptic_quality=told_apart.pq,
        parameters=sum(parameter.numel() for parameter in fresh.parameters()),
        bits=model.recipe["quantization"]["bits"],
        size=(WEIGHTS / "model.safetensors").stat().st_size,
        comparison=integers.verify(images, against=("spikes",)),
        multiplying=spikesight.audit(integers, images[:1]).offenders,
        energy=energy(model, images),
        pictures=_draw(model, card, images, shown),
    )


@torch.no_grad()
def _draw(
    model: SpikingModel, card: Card, images: Tensor, scenes: Sequence[Scene]
) -> list[ScenePictures]:
    view = build_view(model, card.preprocessing, card.view or ViewConfig())
    table = card.preprocessing.table
    sizes = [(scene.image.shape[1], scene.image.shape[2]) for scene in scenes]
    objects = panoptic_truths(view, images, sizes, table.things)
    scores = photo_scores(view, images)
    pictures = []
    for scene, apart, score, size in zip(scenes, objects, scores, sizes, strict=True):
        classes = parted(class_map(score, size), table)
        truths = (scene.truth, classes, apart)
        drawn = (overlay_of(scene.image, truth, scene.truth, table) for truth in truths)
        pictures.append(ScenePictures(scene.image, *drawn))
    return pictures
