"""The command line's view of training, validation and prediction: call, then print."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from spikesight.data.events import save_gif
from spikesight.passes.text_table import text_table
from spikesight.training.config import TrainConfig
from spikesight.training.figures import Figures
from spikesight.training.neuron_checks import silence_report
from spikesight.training.prediction import draw_contact_sheet, predict
from spikesight.training.run_folder import resolve_model_folder, saved_task
from spikesight.training.seeds import SUMMARY, train_seeds
from spikesight.training.segmentation_evaluation import PanopticFigures, SemanticFigures
from spikesight.training.segmentation_prediction import segment_files
from spikesight.training.segmenter_pictures import draw_segmenter
from spikesight.training.trainer import train
from spikesight.training.validation import (
    Split,
    validate,
    validate_masked_images,
    validate_segmenter,
)


@dataclass
class TrainOptions(TrainConfig):
    """A training run, or several with different seeds.

    Args:
        seeds: How many seeds, from 0, or which: 5 or [0,1,2]. Each is trained in a folder
            seed_... of the output, finished ones are skipped, and seeds.json has the mean.
    """

    seeds: int | list[int] | None = None


def train_command(config: TrainOptions) -> None:
    """Trains a model: one process or several (torchrun), with GPUs or without.

    Args:
        config: The run.
    """
    run = TrainConfig(**{f.name: getattr(config, f.name) for f in fields(TrainConfig)})
    if config.seeds is None:
        train(run)
        return
    result = train_seeds(run, config.seeds)
    if os.environ.get("RANK", "0") == "0":
        print(result.table())
        print(f"figures in {result.folder / SUMMARY}")


def val_command(
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    batch_size: int | None = None,
    precision: Literal["no", "bf16", "fp16"] = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
    view: dict[str, Any] | None = None,
    pictures: Path | None = None,
) -> None:
    """Measures a trained model: top-1; mean IoU; panoptic quality; or loss at hidden patches.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data (or scenes) configuration that differ from training:
            --data.path=…, --data.format=tar and so on.
        split: "validation" (the same images as in training), "test", or "all" images of a set
            that is not divided, such as a tar file of held-out images.
        batch_size: Images per process and forward pass; 128 for a classifier, 8 for a segmenter.
        precision: Autocast type.
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.
        view: How photos are shown to a segmenter, where it differs from training:
            --view.mode=slide, --view.scales=[0.75,1,1.25], --view.flip=true.
        pictures: Folder for pictures of a segmenter's queries and sampling points.
    """
    task = saved_task(resolve_model_folder(folder))
    drawn: list[Path] = []
    if task in ("classification", "masked_image"):
        if view is not None or pictures is not None:
            raise ValueError(f"view and pictures are for segmenters and {folder} is none")
        measure = validate if task == "classification" else validate_masked_images
        figures: Figures = measure(
            folder, data, split, batch_size or 128, precision, device, limit_batches
        )
    else:
        if pictures is not None and os.environ.get("RANK", "0") == "0":
            drawn = draw_segmenter(folder, pictures, data, split)
        figures = validate_segmenter(
            folder, data, split, batch_size or 8, precision, device, limit_batches, view
        )
    if os.environ.get("RANK", "0") != "0":
        return
    if isinstance(figures, SemanticFigures | PanopticFigures):
        print(_by_class(figures))
    print(f"{figures.summary()}  on {figures.images} images")
    if figures.silent_neurons:
        print(silence_report(figures.silent_neurons))
    for picture in drawn:
        print(f"picture in {picture}")


def _by_class(figures: SemanticFigures | PanopticFigures) -> str:
    semantic = isinstance(figures, SemanticFigures)
    scores = figures.class_iou if isinstance(figures, SemanticFigures) else figures.class_pq
    rows = [
        (name, "does not occur" if score is None else f"{score:.2f}")
        for name, score in scores.items()
    ]
    return text_table(("class", "IoU (%)" if semantic else "PQ (%)"), rows)


def predict_command(
    folder: Path,
    images: list[Path],
    output: Path | None = None,
    batch_size: int = 64,
    device: Literal["auto", "cpu"] = "auto",
    on_corrupt: Literal["stop", "skip"] = "stop",
    view: dict[str, Any] | None = None,
    every: int = 1,
) -> None:
    """Shows what a model sees in pictures: guesses, or segments drawn over photos and videos.

    Args:
        folder: Folder of a run, or its best/ or last/.
        images: Image files (videos too, for a segmenter; recordings, for a model that learned from
            events), and folders that are searched for them.
        output: PNG file of a contact sheet to write, with a GIF of each recording beside it; for a
            segmenter the folder of its overlays, class-index PNGs and COCO panoptic files.
            predictions.png or predictions if omitted.
        batch_size: Images per forward pass of a classifier.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.
        on_corrupt: Whether an unreadable image ends the command or is left out.
        view: How photos are shown to a segmenter, as for val.
        every: Of a video take every so-manieth frame.
    """
    if saved_task(resolve_model_folder(folder)) != "classification":
        written = segment_files(
            folder,
            images,
            output or Path("predictions"),
            view,
            every,
            device,
            on_corrupt,
        )
        if not written:
            raise ValueError("none of the files could be read")
        for result in written:
            print(f"{result.file.name}: {result.overlay}, {result.classes}")
        return
    predictions = predict(folder, images, batch_size, device, on_corrupt)
    if not predictions:
        raise ValueError("none of the images could be read")
    table = Table("image", "first guess", "others")
    for prediction in predictions:
        (first, share), *others = prediction.guesses
        rest = ", ".join(f"{name} {value:.1%}" for name, value in others)
        table.add_row(prediction.file.name, f"{first} {share:.1%}", rest)
    Console().print(table)
    output = output or Path("predictions.png")
    draw_contact_sheet(predictions, output)
    print(f"pictures in {output}")
    for prediction in predictions:
        if prediction.frames is not None:
            name = f"{output.stem}_{prediction.file.stem}.gif"
            print(f"frames in {save_gif(prediction.frames, output.with_name(name))}")
