"""Optimisers, learning-rate schedule and moving average of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from spikesight.errors import UserError
from spikesight.files.ranges import Count, NotNegative, Positive, PositiveShare, Rate
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.options import check_options

if TYPE_CHECKING:
    from timm.scheduler import CosineLRScheduler, PolyLRScheduler
    from timm.utils import ModelEmaV3
    from torch import nn
    from torch.optim import Optimizer


@dataclass
class OptimizerConfig:
    """What moves the weights.

    Args:
        name: "adamw", "lamb" (arXiv 1904.00962, timm's), "sgd" with Nesterov momentum or "muon":
            timm's, whose updates of kernels are orthogonal matrices scaled to the size of adamw's
            (arXiv 2502.16982); what has no matrix, such as normalisations, is left to adamw.
        lr: Peak learning rate.
        lr_per_256: Whether `lr` is meant per 256 images and scaled by the images of one update
            (batch_size * accumulation * processes) / 256.
        weight_decay: Weight decay; biases and one-dimensional parameters (norms) have none.
        betas: Decay of the two moments of adamw and lamb; the first one is sgd's and muon's
            momentum.
        layer_decay: Factor on the learning rate for each stage further from the output, for
            fine-tuning; None or 1 treats all alike.
        trunk_lr_scale: Factor on the learning rate of a segmenter's trunk.
        norm_lr_scale: Factor on the learning rate of the normalisations' gains and biases. With 20,
            a few hundred updates bring a trained network's currents to other levels of its
            neurons, which a price on nonzero counts asks for.
    """

    name: Literal["adamw", "lamb", "muon", "sgd"] = "adamw"
    lr: float = 1e-3
    lr_per_256: bool = False
    weight_decay: NotNegative = 0.05
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    layer_decay: PositiveShare | None = None
    trunk_lr_scale: Positive = 1.0
    norm_lr_scale: Positive = 1.0

    def __post_init__(self) -> None:
        check_options(self, "optimizer.")
        if self.lr <= 0:
            raise UserError(f"optimizer.lr is {self.lr}; pass a positive number such as 1e-3")

    def peak_lr(self, images_per_update: int) -> float:
        """The learning rate after warm-up for this many images in an update."""
        return self.lr * images_per_update / 256 if self.lr_per_256 else self.lr

    def build(self, model: nn.Module, images_per_update: int) -> Optimizer:
        """The optimiser over the parameters of a model that need gradients."""
        from timm.optim import create_optimizer_v2

        from spikesight.private_api import let_muon_compute_in_float32

        lr = self.peak_lr(images_per_update)
        if self.name == "sgd":
            options: dict[str, Any] = {"momentum": self.betas[0]}
        else:
            options = {"betas": self.betas}
        if self.name == "adamw":
            options["fused"] = True  # one kernel for all parameters; exists on CPU and CUDA
        if self.name == "muon":
            options |= {"momentum": self.betas[0], "nesterov": True}
            let_muon_compute_in_float32()
        groups = parameter_groups(
            model,
            self.weight_decay,
            self.layer_decay or 1.0,
            self.trunk_lr_scale,
            self.norm_lr_scale,
        )
        return create_optimizer_v2(
            groups, opt=self.name, lr=lr, weight_decay=self.weight_decay, **options
        )


def order_moments(optimizer: Optimizer) -> None:
    """Gives moments that were read from a file the memory format of their parameters.

    One kernel updates all parameters and goes through the memory of both side by side; files know
    one order only.
    """
    import torch

    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
                continue
            if value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value).detach()


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    layer_decay: float = 1.0,
    trunk_lr_scale: float = 1.0,
    norm_lr_scale: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups of parameters by weight decay and by depth (BEiT, arXiv 2106.08254, appendix).

    The depth of a parameter is the number of its stage in `model.stages()`; parameters outside
    the stages count to the last one.

    Args:
        model: A `SpikingModel`, or any module if `layer_decay` is 1.
        weight_decay: Weight decay of parameters with two or more dimensions, but for those that
            a `SpikingModel`'s `no_weight_decay()` names.
        layer_decay: Factor on the learning rate per stage of distance from the output.
        trunk_lr_scale: Factor on the learning rate of parameters below `trunk`.
        norm_lr_scale: Factor on the learning rate of batch normalisations' parameters.

    Returns:
        Groups with params, names, weight_decay and lr_scale (read by timm's schedulers).

    Raises:
        ValueError: If the model has no stages but `layer_decay` is not 1.
    """
    from spikesight.models import SpikingModel
    from spikesight.training.runs.shared_statistics import BatchNorm

    depths: dict[int, int] = {}
    deepest = 0
    if layer_decay != 1.0:
        if not isinstance(model, SpikingModel):
            raise UserError(
                f"optimizer.layer_decay needs a model that knows its stages and "
                f"{type(model).__name__} is no SpikingModel; leave optimizer.layer_decay out"
            )
        stages = model.stages()
        deepest = len(stages) - 1
        for depth, stage in enumerate(stages):
            depths.update({id(parameter): depth for parameter in stage.parameters()})
    norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, BatchNorm)
        for parameter in module.parameters(recurse=False)
    }
    spared = model.no_weight_decay() if isinstance(model, SpikingModel) else set()
    groups: dict[tuple[int, bool, bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        depth = depths.get(id(parameter), deepest)
        decays = parameter.ndim > 1 and not name.endswith(".bias") and name not in spared
        in_trunk = trunk_lr_scale != 1.0 and name.startswith("trunk.")
        of_norm = norm_lr_scale != 1.0 and id(parameter) in norms
        group = groups.setdefault(
            (depth, decays, in_trunk, of_norm),
            {
                "params": [],
                "names": [],
                "weight_decay": weight_decay if decays else 0.0,
                "lr_scale": layer_decay ** (deepest - depth)
                * (trunk_lr_scale if in_trunk else 1.0)
                * (norm_lr_scale if of_norm else 1.0),
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


@dataclass
class ScheduleConfig:
    """Decay of the learning rate with a linear warm-up, per update.

    A warm-up that would leave nothing of the run is a tenth of it instead.

    Args:
        name: "cosine", or "poly": (1 - share of the run) ** power.
        power: Power of "poly".
        warmup_epochs: Epochs from `warmup_lr` to the peak; fractions are allowed.
        warmup_updates: Updates instead of `warmup_epochs`.
        warmup_lr: Learning rate of the first update.
        min_lr: Learning rate at the end.
    """

    name: Literal["cosine", "poly"] = "cosine"
    power: Positive = 1.0
    warmup_epochs: NotNegative = 1.0
    warmup_updates: Count | None = None
    warmup_lr: NotNegative = 1e-6
    min_lr: NotNegative = 1e-6

    def __post_init__(self) -> None:
        check_options(self, "schedule.")

    def warmup(self, updates: int, updates_per_epoch: int) -> int:
        """Updates of the warm-up, which fits into the run.

        Args:
            updates: Updates of the whole run.
            updates_per_epoch: Updates of an epoch.
        """
        asked = self._asked_warmup(updates_per_epoch)
        return asked if asked < updates else min(updates - 1, math.ceil(updates / 10))

    def describe_shortening(self, updates: int, updates_per_epoch: int) -> str | None:
        """What a run says of a warm-up that had to be shortened; None if it was not."""
        asked, fits = self._asked_warmup(updates_per_epoch), self.warmup(updates, updates_per_epoch)
        if asked == fits:
            return None
        field = "warmup_epochs" if self.warmup_updates is None else "warmup_updates"
        return (
            f"the warm-up of {asked} update(s) leaves nothing of a run of {updates}: it takes "
            f"{fits} here (schedule.{field} is {getattr(self, field)})"
        )

    def _asked_warmup(self, updates_per_epoch: int) -> int:
        if self.warmup_updates is not None:
            return self.warmup_updates
        return round(self.warmup_epochs * updates_per_epoch)

    def build(
        self, optimizer: Optimizer, updates: int, updates_per_epoch: int
    ) -> CosineLRScheduler | PolyLRScheduler:
        """The schedule of timm; its learning rate is a function of the update number alone.

        Args:
            optimizer: Optimiser at its peak learning rate.
            updates: Updates of the whole run.
            updates_per_epoch: Updates of an epoch.

        """
        warmup = self.warmup(updates, updates_per_epoch)
        from timm.scheduler import CosineLRScheduler, PolyLRScheduler

        options: dict[str, Any] = {
            "t_initial": updates - warmup,
            "lr_min": self.min_lr,
            "warmup_t": warmup,
            "warmup_lr_init": self.warmup_lr if warmup else 0.0,
            "warmup_prefix": True,
            "t_in_epochs": False,
        }
        if self.name == "poly":
            return PolyLRScheduler(optimizer, power=self.power, **options)
        return CosineLRScheduler(optimizer, **options)


@dataclass
class EmaConfig:
    """A moving average of the weights, evaluated and saved beside them.

    Args:
        decay: Decay per update; 0 switches the average off.
        warmup: Whether the decay grows as 1 - (1 + update)^-0.75 up to `decay`, so that short runs
            do not average over their random start.
    """

    decay: float = 0.0
    warmup: bool = True

    def __post_init__(self) -> None:
        # YAML's null reaches a field that has a number as its default.
        if not isinstance(self.decay, int | float) or not 0.0 <= self.decay < 1.0:
            raise UserError(
                f"ema.decay is {self.decay}; pass one in [0, 1), such as 0.999, or 0 for none"
            )
        check_options(self, "ema.")

    def build(self, model: nn.Module) -> ModelEmaV3 | None:
        """The average, starting from a copy of the model; None if it is off."""
        if self.decay == 0:
            return None
        from timm.utils import ModelEmaV3

        return ModelEmaV3(
            model, decay=self.decay, use_warmup=self.warmup, warmup_gamma=1.0, warmup_power=0.75
        )
