"""What distillation and a price on firing are asked to do, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikesight.errors import UserError
from spikesight.files.ranges import NotNegative, Positive, Rate, Share
from spikesight.options import check_options


@dataclass
class FiringRateConfig:
    """A price on firing, so that training trades accuracy against energy or time.

    Args:
        weight: Factor of the penalty in the loss; 0 switches it off.
        target: Share in [0, 1) of what is counted, up to which nothing is paid.
        counts: What is paid for: "mean" the mean count over D (the firing rate), "nonzero" the
            share of counts that are not zero, whatever their height, which is what a sparse
            kernel's time goes with.
        by: "layer" makes every layer pay alike, for the square of what lies above the target;
            "cost" makes each pay in proportion to the multiply-accumulates that its readers do
            with it, and compares their sum with the target.
        prices: What "cost" goes by: "macs", or the picojoules that a cost model of docs/energy.md
            takes for a count ("integer", "memory", "movement"): sent as so many spikes where the
            mean is paid for, as one message where it is the share that is not zero.
    """

    weight: NotNegative = 0.0
    target: Rate = 0.0
    counts: Literal["mean", "nonzero"] = "mean"
    by: Literal["layer", "cost"] = "layer"
    prices: Literal["macs", "integer", "memory", "movement"] = "macs"

    def __post_init__(self) -> None:
        check_options(self, "firing_rate.")
        if self.prices != "macs" and self.by != "cost":
            raise UserError(
                f"firing_rate.prices is {self.prices!r}, which firing_rate.by=layer ignores; "
                "pass firing_rate.by=cost"
            )


@dataclass
class DistillationConfig:
    """Learning from a teacher, which sees the same augmented and mixed images.

    Classifiers learn its logits, segmenters the classes that it gives to every pixel, and models of
    any task but masked images its attention, that of both trunks.

    Args:
        teacher: Folder of a trained run, such as that of the ANN twin, or "timm:NAME" for a model
            of timm with its published weights; None for no teacher. It may have another task where
            attention alone is learned.
        teacher_weights: File with other weights for the model of timm, such as those fine-tuned on
            these classes.
        logits: "soft" learns the teacher's probabilities, "hard" its first guesses, "none"
            neither. Teacher and data need the same classes.
        logits_share: Share of this loss, in [0, 1]; the labels keep the rest.
        temperature: What both logits are divided by for "soft"; higher shows more of the order
            among wrong classes.
        attention: Whether queries, keys and values become similar to the teacher's (QSD eq. 13).
        attention_weight: Factor of that loss beside the others (QSD eq. 14).
    """

    teacher: str | None = None
    teacher_weights: str | None = None
    logits: Literal["none", "soft", "hard"] = "none"
    logits_share: Share = 0.5
    temperature: Positive = 3.0
    attention: bool = False
    attention_weight: Positive = 2.0

    def __post_init__(self) -> None:
        check_options(self, "distillation.")
        learning = self.logits != "none" or self.attention
        if learning and self.teacher is None:
            raise UserError(
                "distillation has no teacher; pass distillation.teacher, a folder or timm:NAME"
            )
        if self.teacher is not None and not learning:
            raise UserError(
                f"distillation.teacher is {self.teacher} but nothing is learned from it; pass "
                "distillation.logits soft or hard, or distillation.attention=true"
            )
        if self.teacher_weights is not None and not (self.teacher or "").startswith("timm:"):
            raise UserError(
                "distillation.teacher_weights belongs to a teacher of timm; pass "
                "distillation.teacher=timm:NAME"
            )
