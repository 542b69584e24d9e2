"""Accuracy, loss and firing of a model on a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from spikesight.errors import UserError
from spikesight.training.runs.processes import total
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Findings
from spikesight.training.tasks.measuring import show_all

BatchTransform = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True)
class Evaluation(Figures):
    """What a classifier does on a set of images.

    Attributes:
        top1: Share of images whose first guess is right, in percent.
        top5: Share of images with the right class among the first five guesses, in percent.
        loss: Mean cross entropy, in nats.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("top1", "top5", "loss")
    top1: float
    top5: float
    loss: float
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...] = ()

    def better_than(self, other: Evaluation | None) -> bool:
        """Whether top-1 is higher, or equal at a lower loss."""
        return other is None or (self.top1, -self.loss) > (other.top1, -other.loss)

    def headline(self) -> str:
        """Top-1."""
        return f"top-1 {self.top1:.2f} %"

    def summary(self) -> str:
        """Top-1, top-5, loss and firing."""
        figures = f"{self.headline()}  top-5 {self.top5:.2f} %  loss {self.loss:.4f}"
        return figures + self.firing()


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    transform: BatchTransform,
    accelerator: Accelerator,
    *,
    channels_last: bool = False,
    limit_batches: int | None = None,
    findings: Findings | None = None,
) -> Evaluation:
    """Measures a model; with several processes each one measures its share of the images.

    Only whole numbers and sums over images travel between the processes, so accuracies are those
    of a single process exactly.

    Args:
        model: Takes images [B, C, H, W] (or [B, T, C, H, W]), returns logits [B, K].
        loader: Yields (images, labels [B]); over all processes each image once.
        transform: Turns a raw batch into the model's input, on the accelerator's device.
        accelerator: Device and processes. Precision is the caller's: float32 unless it autocasts.
        channels_last: Whether images are handed over in the channels-last memory format.
        limit_batches: Stop after so many batches per process.
        findings: Told of every batch its images, labels and logits.

    Raises:
        ValueError: If there is not a single image, or a label is not below K.
    """
    device = accelerator.device
    sums = torch.zeros(3, dtype=torch.float64)

    def show(batch: tuple[Tensor, Tensor]) -> Iterator[int]:
        inputs = transform(batch[0].to(device, non_blocking=True), None)
        if channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        labels = batch[1].to(device, non_blocking=True)
        logits = model(inputs)
        check_logits(logits)
        logits = logits.float()
        if not bool(logits.isfinite().all()):
            raise UserError(
                "the model's logits are not finite, so it has no figures; start from an "
                "earlier checkpoint with a lower learning rate, or pass precision=no"
            )
        _check_labels(labels, logits.shape[1])
        ranking = logits.topk(min(5, logits.shape[1]), dim=1).indices
        hits = ranking == labels[:, None]
        sums[0] += int(hits[:, 0].sum())
        sums[1] += int(hits.any(1).sum())
        if findings is not None:
            findings.tell(batch[0], labels, logits)
        sums[2] += float(cross_entropy(logits, labels, reduction="none").double().sum())
        yield len(labels)

    count, rate, silent = show_all(model, loader, accelerator, limit_batches, show)
    right1, right5, loss = total(accelerator, list(sums))
    return Evaluation(100 * right1 / count, 100 * right5 / count, loss / count, count, rate, silent)


@torch.inference_mode()
def compare_accuracies(
    networks: Mapping[str, Callable[[Tensor], Tensor]],
    loader: Iterable[tuple[Tensor, Tensor]],
    transform: BatchTransform,
) -> tuple[int, dict[str, float]]:
    """Number of images, and top-1 of several networks on them in percent.

    Args:
        networks: What makes logits [B, K] of inputs, by name.
        loader: Yields (images, labels [B]).
        transform: Turns a raw batch into the networks' input.
    """
    right, seen = dict.fromkeys(networks, 0), 0
    for images, labels in loader:
        inputs = transform(images, None)
        seen += len(labels)
        for name, network in networks.items():
            right[name] += int((network(inputs).argmax(1) == labels).sum())
    return seen, {name: 100 * count / seen for name, count in right.items()}


NO_CLASSIFIER = (
    "the model is no classifier: it returns a segmentation; pass task=semantic or task=panoptic, "
    "or another model.name"
)


def check_logits(output: object) -> None:
    """Refuses a model that does not classify, or that does so by several heads."""
    if isinstance(output, tuple) and all(isinstance(part, Tensor) for part in output):
        raise UserError(
            f"the model returns {len(output)} tensors, one for each head, and this task trains "
            "one; choose it in model.arguments (such as head: counts), or register a task of your "
            "own"
        )
    if not isinstance(output, Tensor):
        raise UserError(NO_CLASSIFIER)


def _check_labels(labels: Tensor, classes: int) -> None:
    if int(labels.min()) < 0:
        raise UserError(
            f"label {int(labels.min())} is no class; number classes from 0, and leave out what has "
            "none"
        )
    if int(labels.max()) >= classes:
        raise UserError(
            f"label {int(labels.max())} does not fit a model with {classes} classes; "
            "pass data with the classes the model was trained on, or model.num_classes"
        )
