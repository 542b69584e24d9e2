"""A classifier's answers with names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.data.events import Events
from spikesight.data.photos.preprocessing import fit, to_tensor
from spikesight.errors import UserError
from spikesight.files.ranges import Number
from spikesight.options import check_arguments
from spikesight.training.tasks.pipeline_inputs import called, listed, photo


class ClassifierPipeline:
    """Answers with classes; `spikesight.pipeline` makes it.

    Args:
        model: The classifier.
        preprocessing: That of the model.
        device: Where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing | EventPreprocessing,
        device: torch.device,
    ) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self.device = device

    @torch.no_grad()
    def __call__(self, inputs: Any, *, top_k: Number = 5, batch_size: Number = 64) -> list[Any]:
        """Classifies photos, or recordings if the model learned from events.

        Args:
            inputs: A path, a PIL image (upright as its EXIF says) or a uint8 array [H, W] or
                [H, W, 3], RGB; of recordings a path or `Events`; or a list of such.
            top_k: Most classes of an answer.
            batch_size: Inputs per forward pass.

        Returns:
            For one input [{"label": name, "score": probability}, ...], the most probable first; of
            a list one such answer each.

        Raises:
            UserError: If an input is no such, or cannot be read; names it.
        """
        check_arguments(ClassifierPipeline.__call__, {"top_k": top_k, "batch_size": batch_size})
        items, alone = listed(inputs)
        answers: list[list[dict[str, Any]]] = []
        for start in range(0, len(items), batch_size):
            part = enumerate(items[start : start + batch_size], start=start + 1)
            read = [self._read(item, called(item, number)) for number, item in part]
            batch = self.preprocessing.batch_transform(torch.stack(read)).to(self.device)
            logits = self.model(batch)
            if not isinstance(logits, Tensor) or logits.ndim != 2:
                raise UserError("the model returns no logits of classes; pass a classifier")
            best = logits.float().softmax(1).topk(min(top_k, logits.shape[1]), dim=1)
            for scores, labels in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                answers.append(
                    [
                        {"label": self._label(label), "score": score}
                        for label, score in zip(labels, scores, strict=True)
                    ]
                )
        return answers[0] if alone else answers

    def _label(self, label: int) -> str:
        names = self.preprocessing.classes
        return names[label] if label < len(names) else str(label)

    def _read(self, item: Any, name: str) -> Tensor:
        steps = self.preprocessing
        if isinstance(steps, Preprocessing):
            return to_tensor(fit(photo(item, name, steps.channels), *steps.fitting))
        if isinstance(item, Events):
            return steps.make_frames(item, name)
        if not isinstance(item, str | os.PathLike):
            raise UserError(
                f"{name} is a {type(item).__name__} and the model learned from recordings; pass a "
                "recording's path, or what spikesight.read_events returns"
            )
        return steps.read_file(Path(item))
