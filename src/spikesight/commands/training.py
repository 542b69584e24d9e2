"""The command line's view of training, validation and prediction: call, then print."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from spikesight.data.config import Split
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.files.writing import PAGE_ENDINGS, place_for_file, place_for_folder
from spikesight.parts import imported_parts
from spikesight.reports.text_table import text_table
from spikesight.training.config import Precision, TrainConfig


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
    from spikesight.training.seeds import SUMMARY, train_seeds
    from spikesight.training.trainer import train

    run = TrainConfig(**{f.name: getattr(config, f.name) for f in fields(TrainConfig)})
    run.imports = list(dict.fromkeys([*run.imports, *imported_parts()]))
    if config.seeds is None:
        train(run)
        return
    result = train_seeds(run, config.seeds)
    if os.environ.get("RANK", "0") == "0":
        print(result.table())
        print(f"figures in {show(result.folder / SUMMARY)}")


def val_command(
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    batch_size: int | None = None,
    precision: Precision = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
    view: dict[str, Any] | None = None,
    pictures: Path | None = None,
    run: Path | None = None,
) -> None:
    """Measures a trained model: top-1; mean IoU; panoptic quality; AP; or loss at hidden patches.

    Args:
        folder: Folder of a run, or its best/ or last/; a packed or converted folder; a .spk file,
            or an export of it ending in .onnx or .xml.
        data: Fields of the data (or scenes, objects) configuration that differ from training:
            --data.path=…, --data.format=tar and so on.
        split: "validation" (the same images as in training), "test", or "all" images of a set
            that is not divided, such as a tar file of held-out images.
        batch_size: Images per process and forward pass; 128 for a classifier, 8 for a segmenter
            or detector.
        precision: Autocast type; "auto" is bf16 where the device computes it. The figures of
            training are in float32, "no".
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.
        view: How photos are shown to a segmenter, where it differs from training:
            --view.mode=slide, --view.scales=[0.75,1,1.25], --view.flip=true; or which boxes of a
            detector are kept: --view.score_threshold=0.05, --view.nms_iou=0.5.
        pictures: Folder for pictures of a segmenter's queries and sampling points, or of photos
            with what is there beside what a detector finds.
        run: Folder of the run whose data and preprocessing are used; the model's own if omitted.
    """
    from spikesight.training.neuron_checks import silence_report
    from spikesight.training.runs.card import Card
    from spikesight.training.runs.folder import card_of
    from spikesight.training.tasks.options import ValidationOptions
    from spikesight.training.tasks.validation import validate

    options = ValidationOptions(
        data, split, batch_size, precision, device, limit_batches, view, run
    )
    writes, drawn = os.environ.get("RANK", "0") == "0", []
    if pictures is not None:
        task = Card.read(card_of(folder, run)).kind
        place_for_folder(pictures, "pictures")
        if writes:
            drawn = task.draw(folder, pictures, options)
    figures = validate(folder, options)
    if not writes:
        return
    measure, scores = figures.by_class()
    if scores:
        shown = ("does not occur" if s is None else f"{s:.2f}" for s in scores.values())
        print(text_table(("class", measure), list(zip(scores, shown, strict=True))))
    print(f"{figures.summary()}  on {figures.images} images")
    if figures.silent_neurons:
        print(silence_report(figures.silent_neurons))
    for picture in drawn:
        print(f"picture in {show(picture)}")


def predict_command(
    folder: Path,
    images: list[Path],
    output: Path | None = None,
    batch_size: int = 64,
    device: Literal["auto", "cpu"] = "auto",
    on_corrupt: Literal["stop", "skip"] = "stop",
    view: dict[str, Any] | None = None,
    every: int = 1,
    table: Path | None = None,
    run: Path | None = None,
    html: Path | None = None,
) -> None:
    """Shows what a model sees in pictures: guesses, or segments or boxes over photos and videos.

    Pictures that predict wrote itself are no inputs.

    Args:
        folder: Folder of a run, or its best/ or last/; a packed or converted folder; a .spk file,
            or an export of it ending in .onnx or .xml.
        images: Image files (videos too, for a segmenter or detector; recordings, for a model that
            learned from events), and folders that are searched for them.
        output: PNG file of a contact sheet to write, with a GIF of each recording beside it; for a
            segmenter the folder of its overlays, class-index PNGs and COCO panoptic files; for a
            detector that of its overlays.
            predictions.png or predictions if omitted, and none of them if html is given. A file
            ending in .csv or .json is a table instead of pictures.
        batch_size: Images per forward pass of a classifier.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.
        on_corrupt: Whether an unreadable image ends the command or is left out.
        view: As for val; boxes from --view.shown_score=0.3 up are shown.
        every: Of a video take every so-manieth frame.
        table: Also write a table, .csv or .json: the guesses for each picture, or a segmenter's
            segments with their classes, areas and boxes; of a detector COCO's results (.json), or
            its boxes (.csv).
        run: Folder of the run whose card says how inputs are prepared and what the classes are
            called; the model's own if omitted.
        html: Write what it sees as one self-contained page, with at most 60 photos.
    """
    from spikesight.deployment.deployed_model import fastest_form
    from spikesight.training.runs.card import Card
    from spikesight.training.runs.folder import card_of
    from spikesight.training.runs.preparation import build_accelerator
    from spikesight.training.tasks.options import PredictionOptions
    from spikesight.training.tasks.prediction_tables import TABLE_ENDINGS

    task = Card.read(card_of(folder, run)).kind
    pictures: Path | None = output or (Path(task.pictures) if html is None else None)
    if output is not None and output.suffix.lower() in TABLE_ENDINGS:
        if table is not None:
            raise UserError(f"output {output} is a table and table is {table}; pass one of them")
        pictures, table = None, output
    if table is not None:
        place_for_file(table, "table", TABLE_ENDINGS)
    if html is not None:
        place_for_file(html, "html", PAGE_ENDINGS)
    options = PredictionOptions(
        pictures, table, batch_size, device, on_corrupt, view, every, run, html
    )
    task.predict(folder, images, options)
    if folder.is_file():
        runtime = {".onnx": "onnxruntime", ".xml": "OpenVINO"}.get(folder.suffix)
        print(f"integers by {runtime or fastest_form(build_accelerator(device=device).device)}")
