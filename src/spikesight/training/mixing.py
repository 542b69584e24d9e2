"""Mixup and cutmix."""

from __future__ import annotations

from dataclasses import dataclass

from spikesight.lazy_names import TYPE_CHECKING

if TYPE_CHECKING:
    from timm.data.mixup import Mixup

from spikesight.files.ranges import Count, NotNegative, Share
from spikesight.options import check_options


@dataclass
class MixConfig:
    """Mixing pairs of images and their labels (mixup: arXiv 1710.09412, cutmix: 1905.04899).

    Args:
        mixup: Alpha of the beta distribution of mixup; 0 switches mixup off.
        cutmix: Alpha of the beta distribution of cutmix; 0 switches cutmix off.
        probability: Share of the batches that are mixed.
        switch_probability: Share of cutmix where both are on.
        off_epochs: Number of last epochs trained without mixing.
    """

    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    probability: Share = 1.0
    switch_probability: Share = 0.5
    off_epochs: Count = 0

    def __post_init__(self) -> None:
        check_options(self, "mix.")

    @property
    def active(self) -> bool:
        """Whether anything is mixed."""
        return self.mixup > 0 or self.cutmix > 0

    def describe_absence(self, epochs: int) -> str | None:
        """What a run says that is too short to mix anything; None if it mixes, or should not.

        Args:
            epochs: Those of the run.
        """
        if not self.active or self.off_epochs < epochs:
            return None
        return (
            f"nothing is mixed: mix.off_epochs is {self.off_epochs} and the run has {epochs} "
            "epoch(s); pass a smaller mix.off_epochs for mixup and cutmix in some of them"
        )

    def build(self, classes: int, label_smoothing: float) -> Mixup:
        """Builds the mixer of timm: (images, labels [B]) to (images, probabilities [B, K])."""
        from timm.data.mixup import Mixup

        return Mixup(
            mixup_alpha=self.mixup,
            cutmix_alpha=self.cutmix,
            prob=self.probability,
            switch_prob=self.switch_probability,
            label_smoothing=label_smoothing,
            num_classes=classes,
        )
