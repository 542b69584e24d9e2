"""The short training that a converted network goes on with: its configuration."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from spikesight.models import SpikingModel
from spikesight.training.config import ModelConfig, TrainConfig
from spikesight.training.tasks.table import find_task

_LR_SCALE = 0.25
_WARMUP = 0.1  # of the updates
_BUILDING = {
    *("num_classes", "in_channels", "steps", "levels", "neuron", "neuron_arguments"),
    "drop_path_rate",
}


def run_configuration(folder: Path) -> TrainConfig | None:
    """The configuration of the run that a model's folder belongs to.

    Args:
        folder: Folder of the model, such as a run's best/.

    Returns:
        The configuration; None where no config.yaml lies in or above the folder.

    Raises:
        UserError: If it is damaged.
    """
    for place in (folder, folder.parent):
        if (place / "config.yaml").is_file():
            return TrainConfig.load(place / "config.yaml")
    return None


def tuning_configuration(
    run: TrainConfig, converted: SpikingModel, folder: Path, teacher: Path, share: float
) -> TrainConfig:
    """The run with a converted network, few epochs and a small learning rate.

    Epochs without mixup and cutmix become fewer with all others.

    Classifiers and segmenters learn from the labels and from the model that they were made of.

    Args:
        run: The run of the model that was converted.
        converted: What became of it.
        folder: Where that lies.
        teacher: Folder of the model that was converted.
        share: Share of the run's epochs, rounded down, at least one.
    """
    arguments = converted.recipe["arguments"]
    model = ModelConfig(
        name=converted.recipe["name"],
        steps=converted.steps,
        levels=arguments["levels"],
        neuron=arguments["neuron"],
        neuron_arguments=arguments["neuron_arguments"],
        drop_path_rate=run.model.drop_path_rate,
        num_classes=run.model.num_classes,
        arguments={name: v for name, v in arguments.items() if name not in _BUILDING},
        weights=str(folder),
    )
    epochs = max(1, math.floor(share * run.epochs))
    distillation = run.distillation
    if find_task(run.task).classifies:
        distillation = replace(
            distillation, teacher=str(teacher), teacher_weights=None, logits="soft", attention=False
        )
    return replace(
        run,
        model=model,
        output=f"{folder}_tuned",
        optimizer=replace(run.optimizer, lr=run.optimizer.lr * _LR_SCALE),
        schedule=replace(run.schedule, warmup_epochs=_WARMUP * epochs, warmup_updates=None),
        mix=replace(run.mix, off_epochs=min(round(share * run.mix.off_epochs), epochs - 1)),
        distillation=distillation,
        epochs=epochs,
        validate_every=1,
        resume=False,
    )
