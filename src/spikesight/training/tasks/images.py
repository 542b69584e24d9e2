"""What tasks on single images share."""

from __future__ import annotations

from accelerate import Accelerator

from spikesight.data import Loaders, build_loaders
from spikesight.training.config import TrainConfig
from spikesight.training.tasks.base import Task


class ImageTask(Task):
    """A task that reads what `config.data` describes."""

    loaders: Loaders

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self.loaders = build_loaders(
            config.data,
            batch_size=config.batch_size,
            seed=config.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            drop_last=True,
            accumulation=config.accumulation,
            even=config.mix.active,
        )
