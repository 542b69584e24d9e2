"""The command line's view of training, validation and prediction: call, then print."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from spikesight.data.config import Split
from spikesight.errors import UserError
from spikesight.files.names import show, show_path
from spikesight.files.writing import distinct_stems, place_for_file, place_for_folder
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.parts import imported_parts
from spikesight.reports.text_table import text_table
from spikesight.training.config import Precision, TrainConfig

if TYPE_CHECKING:
    from spikesight.training.tasks.classification.prediction import Prediction
    from spikesight.training.tasks.figures import Figures
    from spikesight.training.tasks.segmentation.evaluation import PanopticFigures, SemanticFigures


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
    """Measures a trained model: top-1; mean IoU; panoptic quality; or loss at hidden patches.

    Args:
        folder: Folder of a run, or its best/ or last/; a packed or converted folder; or a .spk
            file.
        data: Fields of the data (or scenes) configuration that differ from training:
            --data.path=…, --data.format=tar and so on.
        split: "validation" (the same images as in training), "test", or "all" images of a set
            that is not divided, such as a tar file of held-out images.
        batch_size: Images per process and forward pass; 128 for a classifier, 8 for a segmenter.
        precision: Autocast type; "auto" is bf16 where the device computes it. The figures of
            training are in float32, "no".
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.
        view: How photos are shown to a segmenter, where it differs from training:
            --view.mode=slide, --view.scales=[0.75,1,1.25], --view.flip=true.
        pictures: Folder for pictures of a segmenter's queries and sampling points.
        run: Folder of the run whose data and preprocessing are used; the model's own if omitted.
    """
    from spikesight.training.neuron_checks import silence_report
    from spikesight.training.runs.any_form import card_of
    from spikesight.training.runs.folder import saved_task
    from spikesight.training.tasks.segmentation.evaluation import PanopticFigures, SemanticFigures
    from spikesight.training.tasks.segmentation.pictures import draw_segmenter
    from spikesight.training.tasks.validation import (
        validate,
        validate_masked_images,
        validate_segmenter,
    )

    task = saved_task(card_of(folder, run))
    drawn: list[Path] = []
    if task in ("classification", "masked_image"):
        if view is not None or pictures is not None:
            raise UserError(f"view and pictures are for segmenters and {folder} is none")
        size = batch_size or 128
        figures: Figures
        if task == "classification":
            figures = validate(folder, data, split, size, precision, device, limit_batches, run)
        else:
            figures = validate_masked_images(
                folder, data, split, size, precision, device, limit_batches
            )
    else:
        if pictures is not None:
            place_for_folder(pictures, "pictures")
        if pictures is not None and os.environ.get("RANK", "0") == "0":
            drawn = draw_segmenter(folder, pictures, data, split, run=run)
        figures = validate_segmenter(
            folder,
            data,
            split,
            batch_size or 8,
            precision,
            device,
            limit_batches,
            view,
            run=run,
        )
    if os.environ.get("RANK", "0") != "0":
        return
    if isinstance(figures, SemanticFigures | PanopticFigures):
        print(_by_class(figures))
    print(f"{figures.summary()}  on {figures.images} images")
    if figures.silent_neurons:
        print(silence_report(figures.silent_neurons))
    for picture in drawn:
        print(f"picture in {show(picture)}")


def _by_class(figures: SemanticFigures | PanopticFigures) -> str:
    from spikesight.training.tasks.segmentation.evaluation import SemanticFigures

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
    table: Path | None = None,
    run: Path | None = None,
) -> None:
    """Shows what a model sees in pictures: guesses, or segments drawn over photos and videos.

    Pictures that predict wrote itself are no inputs.

    Args:
        folder: Folder of a run, or its best/ or last/; a packed or converted folder; or a .spk
            file.
        images: Image files (videos too, for a segmenter; recordings, for a model that learned from
            events), and folders that are searched for them.
        output: PNG file of a contact sheet to write, with a GIF of each recording beside it; for a
            segmenter the folder of its overlays, class-index PNGs and COCO panoptic files.
            predictions.png or predictions if omitted. A file ending in .csv or .json is a table
            instead of pictures.
        batch_size: Images per forward pass of a classifier.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.
        on_corrupt: Whether an unreadable image ends the command or is left out.
        view: How photos are shown to a segmenter, as for val.
        every: Of a video take every so-manieth frame.
        table: Also write a table, .csv or .json: the guesses for each picture, or a segmenter's
            segments with their classes, areas and boxes.
        run: Folder of the run whose card says how inputs are prepared and what the classes are
            called; the model's own if omitted.
    """
    from spikesight.training.runs.any_form import card_of
    from spikesight.training.runs.folder import saved_task
    from spikesight.training.tasks.classification.prediction import SHEET_ENDINGS, predict
    from spikesight.training.tasks.prediction_tables import TABLE_ENDINGS
    from spikesight.training.tasks.segmentation.prediction import segment_files

    classifies = saved_task(card_of(folder, run)) == "classification"
    pictures: Path | None = output or Path("predictions.png" if classifies else "predictions")
    if output is not None and output.suffix.lower() in TABLE_ENDINGS:
        if table is not None:
            raise UserError(f"output {output} is a table and table is {table}; pass one of them")
        pictures, table = None, output
    if table is not None:
        place_for_file(table, "table", TABLE_ENDINGS)
    if classifies:
        if pictures is not None:
            place_for_file(pictures, "output", SHEET_ENDINGS)
        guesses = predict(folder, images, batch_size, device, on_corrupt, pictures, run)
        _guess(guesses, pictures, table)
        return
    if pictures is not None:
        place_for_folder(pictures, "output")
    written = segment_files(folder, images, pictures, view, every, device, on_corrupt, table, run)
    if not written:
        raise UserError("none of the files could be read")
    for result in written:
        if result.overlay is not None and result.classes is not None:
            places = f"{show(result.overlay)}, {show(result.classes)}"
            print(f"{show_path(result.file)}: {places}")
    if table is not None:
        print(f"segments in {show(table)}")


def _guess(predictions: list[Prediction], pictures: Path | None, table: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from spikesight.data.events import save_gif
    from spikesight.files.printing import print_table
    from spikesight.training.tasks.classification.prediction import (
        SHEET_PICTURES,
        draw_contact_sheet,
    )
    from spikesight.training.tasks.prediction_tables import write_guesses

    if not predictions:
        raise UserError("none of the images could be read")
    shown_guesses = Table("image", "first guess", "others")
    for prediction in predictions:
        (first, share), *others = prediction.guesses
        rest = ", ".join(f"{name} {value:.1%}" for name, value in others)
        cells = (show_path(prediction.file), show(f"{first} {share:.1%}"), show(rest))
        shown_guesses.add_row(*map(Text, cells))
    print_table(shown_guesses)
    if table is not None:
        write_guesses(predictions, table)
        print(f"guesses in {show(table)}")
    if pictures is None:
        return
    draw_contact_sheet(predictions, pictures)
    count = len(predictions)
    cut = f" (the first {SHEET_PICTURES} of {count:,})" if count > SHEET_PICTURES else ""
    print(f"pictures in {show(pictures)}{cut}")
    recordings = [p for p in predictions if p.frames is not None]
    stems = distinct_stems([prediction.file for prediction in recordings])
    for prediction, stem in zip(recordings, stems, strict=True):
        assert prediction.frames is not None
        gif = pictures.with_name(f"{pictures.stem}_{stem}.gif")
        print(f"frames in {show(save_gif(prediction.frames, gif))}")
