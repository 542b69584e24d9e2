"""Classifiers: how their trunk and head meet, and what timm's users expect of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.ranges import PositiveShare, Side
from spikesight.models.base import (
    SpikingModel,
    initialise_module,
    trunk_layers,
)
from spikesight.options import check_value
from spikesight.presentation import GlobalPool, Presentation, Readout, batch_first, present
from spikesight.synapses import Linear


class Classifier(SpikingModel):
    """A trunk whose last map is pooled and read by a linear head.

    A family is a subclass that builds its trunk and hands it over; with `feature_stages` it has
    features_only and masked-image pre-training too.

    Attributes:
        num_classes: Classes K.
        num_features: Channels C of the trunk's last map, which the head reads.

    Args:
        trunk: Stages, from currents or spikes [T*B, C, H, W] to such at their own resolution.
        in_channels: Channels of the input.
        stride: How many times the trunk shrinks height and width.
        num_features: Channels of its last map.
        num_classes: Classes K.
        steps: Time steps T.
        head_neuron: Stands before the head where the trunk ends with currents.
        pools_counts: Whether that neuron stands before the pooling, at every pixel, rather than
            behind it.
        head_bias: Whether the head has a bias.
    """

    def __init__(
        self,
        trunk: nn.Sequential,
        *,
        in_channels: int,
        stride: int,
        num_features: int,
        num_classes: int,
        steps: int,
        head_neuron: nn.Module | None = None,
        pools_counts: bool = False,
        head_bias: bool = True,
    ) -> None:
        super().__init__()
        self.steps, self.stride = steps, stride
        self.num_classes, self.num_features = num_classes, num_features
        self.presentation = Presentation(steps, in_channels, stride)
        self.trunk = trunk
        self.pool = GlobalPool()
        self.head_neuron = head_neuron or nn.Identity()
        self.pools_counts = pools_counts
        self.head = Linear(num_features, num_classes, bias=head_bias)
        self.readout = Readout(steps)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W] or event frames [B, T, C, H, W]."""
        x = self.trunk(self.presentation(x))
        logits: Tensor = self.readout(self.head(self._features(x)))
        return logits

    def _features(self, x: Tensor) -> Tensor:
        """What the head reads [T*B, C], of the trunk's last map."""
        if self.pools_counts:
            features: Tensor = self.pool(self.head_neuron(x))
        else:
            features = self.head_neuron(self.pool(x))
        return features

    def forward_features(self, x: Tensor) -> Tensor:
        """The trunk's last map of an input.

        Args:
            x: Images [B, C, H, W] or event frames [B, T, C, H, W].

        Returns:
            [B, C', H', W'] (T = 1) or [B, T, C', H', W'].
        """
        return batch_first(self.trunk(self.presentation(x)), self.steps)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What the head makes of the trunk's last map.

        Args:
            x: What `forward_features` returns.
            pre_logits: Whether to leave out the classifier.

        Returns:
            Logits [B, K], as `forward` gives them bit for bit; or the features [B, C'] that the
            classifier reads, their mean over time.
        """
        features = self._features(present(x, self.steps))
        output: Tensor = self.readout(features if pre_logits else self.head(features))
        return output

    def get_classifier(self) -> nn.Module:
        """The head, a synapse."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Gives the model a fresh head, for other classes, and notes it in its recipe.

        Args:
            num_classes: Classes K, at least 1.
            global_pool: "avg" or None, the mean, which is the only one there is.

        Raises:
            UserError: If an argument is none of these, or the model is quantised.
        """
        check_value("num_classes", num_classes, Annotated[int, Meta(ge=0, le=2**20)])
        if num_classes == 0:
            raise UserError(
                "num_classes is 0; a model without a head cannot be saved: take "
                "forward_head(forward_features(x), pre_logits=True), or build with "
                "features_only=True"
            )
        if global_pool not in (None, "avg"):
            raise UserError(f"global_pool is {global_pool!r}; pass avg, or leave it out")
        old = self.head.get_submodule("linear") if type(self.head) is Linear else None
        if type(old) is not nn.Linear:
            raise UserError(
                "the model is quantised, and a head beside its integers would have other bits; "
                "reset the head of the model before spikesight.quantize"
            )
        head = Linear(self.num_features, num_classes, bias=old.bias is not None)
        head.to(old.weight.device, old.weight.dtype)
        if not old.weight.is_meta:
            head.apply(initialise_module)
        self.head = head.train(self.head.training)
        self.num_classes = num_classes
        if hasattr(self, "recipe"):
            arguments = {**self.recipe["arguments"], "num_classes": num_classes}
            self.recipe = {**self.recipe, "arguments": arguments}
        if self.card is not None:
            unnamed = {**self.card.get("preprocessing", {}), "classes": []}
            self.card = {**self.card, "preprocessing": unnamed, "metrics": None}

    def stages(self) -> list[nn.Module]:
        """Every layer of the trunk in order, then the head."""
        return [*trunk_layers(self.trunk), self.head]

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Index in the trunk, channels, reduction) of the last map at each resolution."""
        raise UserError(
            f"{type(self).__name__} does not say at which resolutions its trunk has maps, which "
            "features_only and masked-image pre-training need; give it feature_stages()"
        )

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """What timm says of the maps: channels (num_chs), reduction and module of each."""
        return [
            {"num_chs": channels, "reduction": reduction, "module": f"trunk.{index}"}
            for index, channels, reduction in self.feature_stages()
        ]

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """What timm's tools ask of a model, such as `timm.data.resolve_model_data_config`.

        How photos are prepared (input_size, mean, std, crop_pct, interpolation) and label_names
        are there for a model whose folder says it in run.json.
        """
        recipe = getattr(self, "recipe", None)
        return {
            "architecture": type(self).__name__ if recipe is None else recipe["name"],
            "num_classes": self.num_classes,
            "classifier": "head.linear",
            **_prepared(self.card),
        }

    @property
    def default_cfg(self) -> dict[str, Any]:
        """The same, by timm's older name."""
        return self.pretrained_cfg


class _Steps(msgspec.Struct):
    """What timm asks of a classifier's preprocessing in run.json; that of events has no mean."""

    image_size: Side
    channels: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop_fraction: PositiveShare = 1.0
    classes: tuple[str, ...] = ()


def _prepared(card: Mapping[str, Any] | None) -> dict[str, Any]:
    """The steps of preprocessing in timm's words, as far as they are said."""
    try:
        steps = msgspec.convert((card or {}).get("preprocessing"), _Steps)
    except msgspec.ValidationError:
        return {}
    said: dict[str, Any] = {"input_size": (steps.channels, steps.image_size, steps.image_size)}
    if steps.classes:
        said["label_names"] = list(steps.classes)
    if steps.mean is None:
        return said
    shorter = round(steps.image_size / steps.crop_fraction)
    share = steps.image_size / shorter
    # timm cuts size / crop_pct off to a whole number.
    whole = math.floor(steps.image_size / share) == shorter
    return said | {
        "mean": steps.mean,
        "std": steps.std,
        "crop_pct": share if whole else math.nextafter(share, 0.0),
        "crop_mode": "center",
        "interpolation": "bicubic",
    }
