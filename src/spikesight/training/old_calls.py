"""Functions whose arguments became options, as version 0.1 called them; `moved` gives them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from spikesight.training.runs.card import Card
from spikesight.training.tasks.classification import prediction
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.options import PredictionOptions, ValidationOptions
from spikesight.training.tasks.segmentation import (
    evaluation,
    pictures,
    prediction as segmentation,
)
from spikesight.training.tasks.validation import validate as measure


@dataclass(frozen=True, init=False)
class SceneCard(Card):
    """The card of a segmenter."""

    def __init__(
        self,
        task: str,
        data: Any,
        preprocessing: Any,
        epoch: int,
        weights: str,
        metrics: Any,
        view: Any,
        precision: str | None = None,
        licence: str | None = None,
    ) -> None:
        super().__init__(
            data, preprocessing, epoch, weights, metrics, task, precision, view, licence
        )


def validate(
    folder: Path,
    data: Any = None,
    split: Any = "validation",
    batch_size: int = 128,
    precision: Any = "no",
    device: Any = "auto",
    limit_batches: int | None = None,
    run: Path | None = None,
) -> Figures:
    """Measures a classifier, or a masked autoencoder."""
    options = ValidationOptions(
        data, split, batch_size, precision, device, limit_batches, None, run
    )
    return measure(folder, options)


def validate_model(model: nn.Module, folder: Path, *options: Any, **named: Any) -> Figures:
    """Measures a model on the images of a trained one."""
    return measure(folder, ValidationOptions(*options, **named), model)


def validate_segmenter(
    folder: Path,
    scenes: Any = None,
    split: Any = "validation",
    batch_size: int = 8,
    precision: Any = "no",
    device: Any = "auto",
    limit_batches: int | None = None,
    view: Any = None,
    model: nn.Module | None = None,
    run: Path | None = None,
) -> Figures:
    """Measures a segmenter."""
    options = ValidationOptions(
        scenes, split, batch_size, precision, device, limit_batches, view, run
    )
    return measure(folder, options, model)


def predict(
    folder: Path,
    images: list[Path],
    batch_size: int = 64,
    device: Any = "auto",
    on_corrupt: Any = "stop",
    sheet: Path | None = None,
    run: Path | None = None,
) -> list[prediction.Prediction]:
    """Guesses what pictures or recordings show."""
    options = PredictionOptions(sheet, None, batch_size, device, on_corrupt, run=run)
    return prediction.predict(folder, images, options)


def segment_files(
    folder: Path,
    files: list[Path],
    output: Path | None,
    view: Any = None,
    every: int = 1,
    device: Any = "auto",
    on_corrupt: Any = "stop",
    table: Path | None = None,
    run: Path | None = None,
) -> list[segmentation.SegmentedFile]:
    """Segments photos and videos."""
    options = PredictionOptions(output, table, 64, device, on_corrupt, view, every, run)
    return segmentation.segment_files(folder, files, options)


def draw_segmenter(
    folder: Path,
    output: Path,
    scenes: Any = None,
    split: Any = "validation",
    photos: int = 100,
    run: Path | None = None,
) -> list[Path]:
    """Draws queries and where attention samples."""
    return pictures.draw_segmenter(
        folder, output, ValidationOptions(scenes, split, run=run), photos
    )


def evaluate_semantic(
    model: nn.Module,
    scenes: Any,
    preprocessing: Any,
    accelerator: Any,
    config: Any,
    *,
    limit_batches: int | None = None,
) -> evaluation.SemanticFigures:
    """Measures mean IoU."""
    card = SceneCard("semantic", None, preprocessing, 0, "model", None, config)
    return evaluation.evaluate_semantic(model, scenes, card, accelerator, limit_batches)


def evaluate_panoptic(
    model: nn.Module,
    scenes: Any,
    preprocessing: Any,
    accelerator: Any,
    config: Any,
    *,
    limit_batches: int | None = None,
) -> evaluation.PanopticFigures:
    """Measures panoptic quality."""
    card = SceneCard("panoptic", None, preprocessing, 0, "model", None, config)
    return evaluation.evaluate_panoptic(model, scenes, card, accelerator, limit_batches)


CALLS: dict[str, dict[str, Callable[..., Any]]] = {
    "training.scene_card": {"SceneCard": SceneCard},
    "training.validation": {
        "validate": validate,
        "validate_model": validate_model,
        "validate_segmenter": validate_segmenter,
        "validate_masked_images": validate,
    },
    "training.prediction": {"predict": predict},
    "training.segmentation_prediction": {"segment_files": segment_files},
    "training.segmenter_pictures": {"draw_segmenter": draw_segmenter},
    "training.segmentation_evaluation": {
        "evaluate_semantic": evaluate_semantic,
        "evaluate_panoptic": evaluate_panoptic,
    },
}
