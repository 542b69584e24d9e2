"""What tasks on single images and recordings share: how these are read, sampled and described."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from spikesight.data import (
    EventPreprocessing,
    Loaders,
    Preprocessing,
    build_evaluation_loader,
    build_loaders,
)
from spikesight.data.config import Split
from spikesight.data.loaders import (
    IMAGENET_GREY_MEAN,
    IMAGENET_GREY_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
)
from spikesight.errors import UserError
from spikesight.training.config import TrainConfig
from spikesight.training.runs.card import Card
from spikesight.training.runs.description import Description, checked
from spikesight.training.tasks.base import Choice, Prepared, Task, take

_SAMPLED = 64  # images of a batch


class ImageTask(Task):
    """A task that reads what `config.data` describes: photos, or recordings of event cameras."""

    pictures = "predictions.png"
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
            unlabelled=self.unlabelled,
        )

    @classmethod
    def input_side(cls, config: TrainConfig) -> tuple[str, tuple[int, int]]:
        """data.image_size, twice."""
        return "data.image_size", (config.data.image_size, config.data.image_size)

    @classmethod
    def choose(cls, path: str, asked: Mapping[str, str]) -> Choice:
        """Chooses a configuration for one folder per class."""
        from spikesight.training.tasks.classification.choices import choose_for_classes

        choice = choose_for_classes(path, asked)
        del choice.fields["label_smoothing"]
        return choice

    def prepare(self, images: Tensor, labels: Tensor, epoch: int, batch: int) -> Prepared:
        """Augmented images [B, C, H, W] or frames [B, T, C, H, W]; labels as they are."""
        device = self.accelerator.device
        images = images.to(device, non_blocking=True)
        images = self.loaders.batch_transform_train(images, self.loaders.train.generator(batch))
        targets = labels.to(device, non_blocking=True)
        return Prepared(images, targets, len(targets))

    @classmethod
    def preprocessing_kind(cls, fields: dict[str, Any]) -> type:
        """That of photos or of events."""
        if EventPreprocessing.describes(fields):
            del fields["kind"]
            return EventPreprocessing
        return Preprocessing

    @classmethod
    def fields_of_data(cls, card: Card) -> dict[str, Any]:
        """The size and the channels."""
        steps = card.preprocessing
        return {"format": "folder", "image_size": steps.image_size, "channels": steps.channels}

    @classmethod
    def evaluation_batches(
        cls, card: Card, batch_size: int, split: Split, rank: int = 0, world_size: int = 1
    ) -> Iterable[tuple[Tensor, Tensor]]:
        """Images uint8 [B, C, H, W] (frames [B, T, C, H, W]) and labels [B]."""
        steps = card.preprocessing
        return build_evaluation_loader(card.data, batch_size, steps, split, rank, world_size)

    @classmethod
    def evaluation_inputs(cls, card: Card, count: int, split: Split) -> Tensor:
        """Images [N, C, H, W], or frames [N, T, C, H, W]."""
        transform = card.preprocessing.batch_transform
        batches = cls.evaluation_batches(card, min(count, _SAMPLED), split)
        return torch.cat(take((transform(images) for images, _ in batches), count))[:count]

    @classmethod
    def training_inputs(cls, card: Card, count: int, batch_size: int) -> Iterable[Tensor]:
        """Batches drawn at random and augmented as in training."""
        # Few images are needed: they are decoded one by one.
        config = replace(card.data, in_memory=False)
        loaders = build_loaders(config, min(batch_size, count), seed=0, drop_last=False)
        for number, (images, _) in enumerate(loaders.train):
            yield loaders.batch_transform_train(images, loaders.train.generator(number))

    @classmethod
    def describe(cls, said: Description, card: Card | None, arguments: dict[str, Any]) -> Card:
        """The card of a model of single images."""
        if said.things is not None:
            raise UserError("things is for segmenters and the model is a classifier; leave it out")
        changes = said.changes("classes", "mean", "std", "crop_fraction")
        if said.image_size is not None:
            if said.image_size[0] != said.image_size[1]:
                raise UserError(
                    f"image_size is {said.image_size}; pass one number for a classifier"
                )
            changes["image_size"] = said.image_size[0]
        if card is not None:
            if not isinstance(card.preprocessing, Preprocessing) and changes.keys() - {"classes"}:
                raise UserError(
                    "the model learned from events, which have no mean, std, image_size and "
                    "crop_fraction; pass classes alone"
                )
            return replace(card, preprocessing=checked(replace(card.preprocessing, **changes)))
        channels = arguments["in_channels"]
        if "image_size" not in changes:
            raise UserError(
                "image_size is missing; pass --image_size=224, or what the authors used"
            )
        if channels not in (1, 3):
            raise UserError(
                f"the model takes {channels} channels, so it is none of photos; leave out classes, "
                "mean, std and image_size, and pass frames to ss.load(...) instead"
            )
        grey = channels == 1
        normal: dict[str, Any] = {
            "mean": IMAGENET_GREY_MEAN if grey else IMAGENET_MEAN,
            "std": IMAGENET_GREY_STD if grey else IMAGENET_STD,
        }
        fields = {"channels": channels, **normal, **changes}
        return Card(None, checked(Preprocessing(**fields)), 0, "model", None, cls.name)
