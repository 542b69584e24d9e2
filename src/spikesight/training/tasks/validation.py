"""Measuring a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from spikesight.data import DataConfig, build_evaluation_loader, build_loaders
from spikesight.data.batches import report_skipped
from spikesight.data.config import OnCorrupt, Split as Split
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.data.prediction import find_images
from spikesight.data.sampling import EvaluationSampler
from spikesight.data.segmentation import (
    SceneConfig,
    ScenePreprocessing,
    build_scene_evaluation_loader,
    build_scene_loaders,
    part_of,
    read_photo,
    read_scenes,
    sample_crop,
)
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.pretrained import load
from spikesight.training.config import check_path_is_read, from_mapping, merge
from spikesight.training.precision import Precision
from spikesight.training.runs.any_form import card_of, load_any
from spikesight.training.runs.checkpoint import Card
from spikesight.training.runs.folder import resolve_model_folder, saved_task
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.runs.scene_card import SceneCard, read_any_card
from spikesight.training.tasks.classification.evaluation import Evaluation, evaluate
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.masked_image.evaluation import (
    MaskedImageFigures,
    evaluate_masked_images,
)
from spikesight.training.tasks.segmentation.evaluation import (
    PanopticFigures,
    SemanticFigures,
    evaluate_panoptic,
    evaluate_semantic,
)

ConfigT = TypeVar("ConfigT")
FiguresT = TypeVar("FiguresT", bound=Figures)
_CROPS = 16  # per batch
_NO_DATA = (
    "the model does not say where images are (a .spk file and a converted model do not); pass "
    "--run=FOLDER with the run that it was made from, or {}"
)


def validate(
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    batch_size: int = 128,
    precision: Precision = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
    run: Path | None = None,
) -> Evaluation:
    """Measures a trained classifier: top-1, top-5 and loss; with torchrun on several devices.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        data: Fields of the data configuration that differ from training, such as the path and
            format of another set of images with the same classes.
        split: "validation" (the same images as in training), "test", or "all" images of a set
            that is not divided, such as a tar file of held-out images.
        batch_size: Images per process and forward pass.
        precision: Autocast type: "no" (float32), "auto" (bf16 where the device computes it), "bf16"
            or "fp16".
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.
        run: Folder of the run whose data and preprocessing are used; its own if omitted.

    Returns:
        The figures.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the data cannot be used or does not fit the model.
    """
    card, model = card_of(folder, run), load_any(folder)
    return validate_model(model, card, data, split, batch_size, precision, device, limit_batches)


def validate_model(
    model: nn.Module,
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    batch_size: int = 128,
    precision: Precision = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
) -> Evaluation:
    """Measures a model on the images of a trained one; arguments and errors as of `validate`.

    Args:
        model: What is measured, such as a changed form of the trained model.
        folder: Folder of the trained model, whose data and preprocessing are used.
        data: Fields of the data configuration that differ from training.
        split: Which images.
        batch_size: Images per process and forward pass.
        precision: Autocast type, as for `validate`.
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.

    Returns:
        The figures.
    """
    card = Card.read(folder)
    return _measure_images(
        evaluate, model, card, data, split, batch_size, precision, device, limit_batches
    )


def validate_segmenter(
    folder: Path,
    scenes: dict[str, Any] | None = None,
    split: Split = "validation",
    batch_size: int = 8,
    precision: Precision = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
    view: dict[str, Any] | None = None,
    model: nn.Module | None = None,
    run: Path | None = None,
) -> SemanticFigures | PanopticFigures:
    """Measures a trained segmenter: mean IoU, or panoptic quality.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        scenes: Fields of the scene configuration that differ from training; evaluation_size too.
        split: "validation", or "test" where the data set has masks for it.
        batch_size: Photos per process and forward pass.
        precision: Autocast type: "no" (float32), "auto" (bf16 where the device computes it), "bf16"
            or "fp16".
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.
        view: Fields of the view that differ from training.
        model: What is measured on its scenes, such as another form of it; itself if omitted.
        run: Folder of the run whose scenes and preprocessing are used; its own if omitted.

    Returns:
        The figures of its task.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the scenes cannot be used or do not fit the model.
    """
    card = SceneCard.read(card_of(folder, run))
    config = scenes_of(card, scenes)
    accelerator = build_accelerator(precision, device)
    preprocessing = _shown_at(card.preprocessing, config.evaluation_size)
    loader = build_scene_evaluation_loader(
        config,
        batch_size,
        preprocessing,
        card.task == "panoptic",
        split,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    model = (load_any(folder) if model is None else model).to(accelerator.device)
    shown = card.seen(view or {})
    measure = evaluate_panoptic if card.task == "panoptic" else evaluate_semantic
    with accelerator.autocast():
        return measure(
            model, loader, preprocessing, accelerator, shown, limit_batches=limit_batches
        )


def validate_masked_images(
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Split = "validation",
    batch_size: int = 128,
    precision: Precision = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
) -> MaskedImageFigures:
    """Measures a run of masked-image pre-training; arguments and errors as of `validate`."""
    model_folder = resolve_model_folder(folder)
    card = Card.read(model_folder, "masked_image")
    return _measure_images(
        evaluate_masked_images,
        load(model_folder),
        card,
        data,
        split,
        batch_size,
        precision,
        device,
        limit_batches,
    )


def _measure_images(
    measure: Callable[..., FiguresT],
    model: nn.Module,
    card: Card,
    data: dict[str, Any] | None,
    split: Split,
    batch_size: int,
    precision: Precision,
    device: Literal["auto", "cpu"],
    limit_batches: int | None,
) -> FiguresT:
    accelerator = build_accelerator(precision, device)
    loader = build_evaluation_loader(
        data_of(card, data),
        batch_size,
        card.preprocessing,
        split,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    with accelerator.autocast():
        return measure(
            model.to(accelerator.device),
            loader,
            card.preprocessing.batch_transform,
            accelerator,
            limit_batches=limit_batches,
        )


def _shown_at(
    preprocessing: ScenePreprocessing, size: tuple[int, int] | None
) -> ScenePreprocessing:
    return replace(preprocessing, evaluation_size=size)


def sample_images(
    folder: Path,
    data: dict[str, Any] | None = None,
    count: int = 32,
    split: Split = "validation",
    photos: Path | None = None,
) -> Tensor:
    """Evaluation images as a trained model takes them, spread evenly over the set.

    Photos of a segmenter are resized and cut in the centre to the size of its training crops.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        data: Fields of the data (or scene) configuration that differ from training.
        count: Number of images; all if the set has fewer.
        split: As for `validate`.
        photos: A photo (or recording) or a folder of them to take instead, without labels.

    Returns:
        Normalised images [count, C, H, W].

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the data cannot be used or `count` is not positive.
    """
    if count < 1:
        raise UserError(f"images is {count}; pass 1 or more")
    card = read_any_card(card_of(folder))
    if photos is not None:
        return _photos(card, photos, count, data or {})
    if not data and card.data is None:
        raise UserError(_NO_DATA.format("--photos=FOLDER with any photos"))
    _check_data_is_here(card, data, ", or --photos=FOLDER with any photos like them")
    if isinstance(card, SceneCard):
        return _sample_photos(card, data or {}, count, split)
    config, size = data_of(card, data), min(count, 64)
    loader = build_evaluation_loader(config, size, card.preprocessing, split)
    transform = card.preprocessing.batch_transform
    return torch.cat(_enough((transform(images) for images, _ in loader), count))[:count]


def data_is_here(card: Card | SceneCard) -> bool:
    """Whether the data that a model was trained on can be found again."""
    return card.data is not None and (not card.data.path or Path(card.data.path).exists())


def _check_data_is_here(
    card: Card | SceneCard, changes: dict[str, Any] | None, instead: str = ""
) -> None:
    """Says what to pass where a model's data are gone and no others are named."""
    others = {"path", "format"} & (changes or {}).keys()
    if card.data is not None and not others and not data_is_here(card):
        raise UserError(
            f"the model's data, {show(card.data.path)}, are not here; pass --data.path=… with them"
            + instead
        )


def _photos(card: Card | SceneCard, photos: Path, count: int, changes: dict[str, Any]) -> Tensor:
    """Photos that a user brought, spread evenly over what there is."""
    steps = card.preprocessing
    suffixes = IMAGE_SUFFIXES if isinstance(steps, ScenePreprocessing) else steps.suffixes
    found = find_images(photos, suffixes)
    usual = "stop" if card.data is None else card.data.on_corrupt

    def read(position: int) -> Tensor:
        file = found[position]
        if isinstance(steps, ScenePreprocessing):
            return sample_crop(read_photo(file), steps.crop_size)
        return steps.read_file(file)

    taken = _read_enough(
        read,
        lambda position: str(found[position]),
        len(found),
        count,
        changes.get("on_corrupt", usual),
        show(photos),
    )
    return steps.batch_transform(taken)


def _read_enough(
    read: Callable[[int], Tensor],
    describe: Callable[[int], str],
    available: int,
    count: int,
    on_corrupt: OnCorrupt,
    name: str,
) -> Tensor:
    """So many images, spread evenly over what there is; others in place of corrupt ones."""
    taken: list[Tensor] = []
    skipped: dict[str, str] = {}
    for position in EvaluationSampler(available).positions:
        try:
            taken.append(read(position))
        except CorruptImageError as error:
            if on_corrupt == "stop":
                raise
            skipped[describe(position)] = str(error)
        if len(taken) == count:
            break
    if skipped:
        report_skipped(skipped)
    if not taken:
        raise DataError(f"{name}: every image is corrupt; repair the data set")
    return torch.stack(taken)


def training_batches(
    folder: Path, data: dict[str, Any] | None = None, count: int = 1024, batch_size: int = 128
) -> list[Tensor]:
    """Training images as a trained model takes them, drawn at random and augmented as in training.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data (or scene) configuration that differ from training.
        count: Number of images; those of one epoch if the set has fewer.
        batch_size: Images per batch; of a segmenter's crops at most 16.

    Returns:
        Normalised batches [B, C, H, W].

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the data cannot be used or `count` is not positive.
    """
    if count < 1:
        raise UserError(f"images is {count}; pass 1 or more")
    model_folder = resolve_model_folder(folder)
    if saved_task(model_folder) != "classification":
        return _training_crops(SceneCard.read(model_folder), data or {}, count, batch_size)
    card = Card.read(model_folder)
    # Few images are needed: they are decoded one by one.
    config = data_of(card, {**(data or {}), "in_memory": False})
    loaders = build_loaders(config, min(batch_size, count), seed=0, drop_last=False)
    transform, generator = loaders.batch_transform_train, loaders.train.generator
    numbered = enumerate(loaders.train)
    return _enough((transform(images, generator(n)) for n, (images, _) in numbered), count)


def _training_crops(
    card: SceneCard, changes: dict[str, Any], count: int, batch_size: int
) -> list[Tensor]:
    config = scenes_of(card, {"workers": 0, **changes})
    size = min(_CROPS, batch_size, count)
    loaders = build_scene_loaders(config, size, 0, card.task == "panoptic")
    transform = loaders.preprocessing.batch_transform
    return _enough((transform(images) for images, _ in loaders.train), count)


def _enough(batches: Iterable[Tensor], count: int) -> list[Tensor]:
    """The first batches that hold so many images."""
    taken: list[Tensor] = []
    for batch in batches:
        taken.append(batch)
        if sum(map(len, taken)) >= count:
            break
    return taken


def _sample_photos(card: SceneCard, changes: dict[str, Any], count: int, split: Split) -> Tensor:
    config = scenes_of(card, changes)
    source = read_scenes(config, part_of(split))
    size = card.preprocessing.crop_size
    crops = _read_enough(
        lambda position: sample_crop(source.read(position).image, size),
        source.describe,
        len(source),
        count,
        config.on_corrupt,
        source.name,
    )
    return card.preprocessing.batch_transform(crops)


def data_of(card: Card, changes: dict[str, Any] | None = None) -> DataConfig:
    """The data that a model is measured on.

    Args:
        card: That of the model.
        changes: Fields that differ from training, as YAML or a command line gives them.

    Raises:
        ValueError: If a field is unknown or a value invalid, or the card knows no data and none
            are given.
    """
    if card.data is not None:
        _check_data_is_here(card, changes)
        return override(card.data, changes or {})
    if not changes or not {"path", "format"} & changes.keys():
        raise UserError(_NO_DATA.format("--data.path=FOLDER with one folder of photos per class"))
    steps = card.preprocessing
    fields = {"format": "folder", "image_size": steps.image_size, "channels": steps.channels}
    return from_mapping(DataConfig, {**fields, **changes})


def scenes_of(card: SceneCard, changes: dict[str, Any] | None = None) -> SceneConfig:
    """The scenes that a segmenter is measured on; arguments and errors as of `data_of`."""
    if card.data is not None:
        _check_data_is_here(card, changes)
        return override(card.data, changes or {})
    if not changes or not {"path", "format"} & changes.keys():
        raise UserError(_NO_DATA.format("--data.format=… and --data.path=FOLDER"))
    fields: dict[str, Any] = {"format": "folder", "crop_size": card.preprocessing.crop_size}
    return from_mapping(SceneConfig, {**fields, **changes})


def override(config: ConfigT, changes: dict[str, Any]) -> ConfigT:
    """A data configuration with some fields changed.

    Args:
        config: The configuration of the training.
        changes: New values, as YAML or a command line gives them; nested ones leave their
            neighbours as they are.

    Raises:
        ValueError: If a field is unknown or a value invalid.
    """
    if "path" in changes:
        section = "scenes" if isinstance(config, SceneConfig) else "data"
        check_path_is_read(section, {**asdict(config), **changes})  # type: ignore[call-overload]
    return from_mapping(type(config), merge(asdict(config), changes))  # type: ignore[call-overload]
