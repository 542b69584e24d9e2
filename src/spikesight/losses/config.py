"""What distillation and a price on firing are asked to do, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikesight.errors import UserError
from spikesight.options import check_options


@dataclass
class FiringRateConfig:
    """A price on firing, so that training trades accuracy against energy.

    Args:
        weight: Factor of the penalty in the loss; 0 switches it off.
        target: Firing rate in [0, 1) up to which a layer pays nothing.
    """

    weight: float = 0.0
    target: float = 0.0

    def __post_init__(self) -> None:
        check_options(self, "firing_rate.")
        if self.weight < 0:
            raise UserError(f"firing_rate.weight is {self.weight}; pass 0 (off) or more")
        if not 0.0 <= self.target < 1.0:
            raise UserError(f"firing_rate.target is {self.target}; pass a rate in [0, 1)")


@dataclass
class DistillationConfig:
    """Learning from a teacher, which sees the same augmented and mixed images.

    Args:
        teacher: Folder of a trained run, such as that of the ANN twin, or "timm:NAME" for a model
            of timm with its published weights; None for no teacher.
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
    logits_share: float = 0.5
    temperature: float = 3.0
    attention: bool = False
    attention_weight: float = 2.0

    def __post_init__(self) -> None:
        check_options(self, "distillation.")
        if not 0.0 <= self.logits_share <= 1.0:
            raise UserError(
                f"distillation.logits_share is {self.logits_share}; pass a share in [0, 1]"
            )
        if self.temperature <= 0:
            raise UserError(
                f"distillation.temperature is {self.temperature}; pass more than 0, such as 3"
            )
        if self.attention_weight <= 0:
            raise UserError(
                f"distillation.attention_weight is {self.attention_weight}; pass more than 0, or "
                "distillation.attention=false"
            )
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
