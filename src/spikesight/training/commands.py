"""The command line's view of training, validation and prediction: call, then print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from spikesight.data.events import save_gif
from spikesight.training.config import TrainConfig
from spikesight.training.prediction import draw_contact_sheet, predict
from spikesight.training.trainer import train
from spikesight.training.validation import validate


def train_command(config: TrainConfig) -> None:
    """Trains a model: one process or several (torchrun), with GPUs or without.

    Args:
        config: The run.
    """
    train(config)


def val_command(
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Literal["validation", "test", "all"] = "validation",
    batch_size: int = 128,
    precision: Literal["no", "bf16", "fp16"] = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
) -> None:
    """Measures a trained model: top-1, top-5, loss and the number of images.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data configuration that differ from training: --data.path=…,
            --data.format=tar and so on.
        split: "validation" (the same images as in training), "test", or "all" images of a set
            that is not divided, such as a tar file of held-out images.
        batch_size: Images per process and forward pass.
        precision: Autocast type.
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.
    """
    result = validate(folder, data, split, batch_size, precision, device, limit_batches)
    if os.environ.get("RANK", "0") != "0":
        return
    line = f"top-1 {result.top1:.2f} %  top-5 {result.top5:.2f} %  loss {result.loss:.4f}"
    if result.firing_rate is not None:
        line += f"  firing {result.firing_rate:.3f}"
    print(f"{line}  on {result.images} images")


def predict_command(
    folder: Path,
    images: list[Path],
    output: Path = Path("predictions.png"),
    batch_size: int = 64,
    device: Literal["auto", "cpu"] = "auto",
    on_corrupt: Literal["stop", "skip"] = "stop",
) -> None:
    """Guesses what pictures or recordings show: a table, and a contact sheet as PNG.

    Args:
        folder: Folder of a run, or its best/ or last/.
        images: Image files (recordings, if the model learned from events; each also becomes a GIF
            beside the sheet), and folders that are searched for them.
        output: PNG file to write.
        batch_size: Images per forward pass.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.
        on_corrupt: Whether an unreadable image ends the command or is left out.
    """
    predictions = predict(folder, images, batch_size, device, on_corrupt)
    if not predictions:
        raise ValueError("none of the images could be read")
    table = Table("image", "first guess", "others")
    for prediction in predictions:
        (first, share), *others = prediction.guesses
        rest = ", ".join(f"{name} {value:.1%}" for name, value in others)
        table.add_row(prediction.file.name, f"{first} {share:.1%}", rest)
    Console().print(table)
    draw_contact_sheet(predictions, output)
    print(f"pictures in {output}")
    for prediction in predictions:
        if prediction.frames is not None:
            name = f"{output.stem}_{prediction.file.stem}.gif"
            print(f"frames in {save_gif(prediction.frames, output.with_name(name))}")
