"""A trained model in another form, from which training goes on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spikesight.attention import RepConvForm, SpikeDrivenRepConv
from spikesight.errors import UserError
from spikesight.models import SpikingModel
from spikesight.neurons import Neuron
from spikesight.registry import create_model
from spikesight.synapses import MembraneRectifier, QuantizedSynapse

_LEAST_MOMENTUM = 0.1
# Where a neuron put between RepConv's factors starts, in shares of its levels D: the mean and the
# standard deviation of the counts. They keep most of a current inside 0..D, where the neuron is
# linear but for rounding; a higher mean would cost at the border, where padding counts 0.
_REDUCE_COUNTS = (0.3, 0.2)
_DEPTHWISE_COUNTS = (0.4, 0.2)


@torch.no_grad()
def settle_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measures the running statistics of a model's normalisations anew; no weight changes.

    Quantised weights shift the mean and variance of every current a little, and the sum over the
    layers costs accuracy before the first training step. The normalisation inside a quantised
    RepConv is part of its kernel and stays.

    Args:
        model: The model; it is left in evaluation mode.
        batches: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]), a few hundred in all.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | QuantizedSynapse):
            module.train()
    for index, batch in enumerate(batches):
        for norm in norms:
            norm.momentum = max(_LEAST_MOMENTUM, 1 / (index + 1))
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def change_form(
    model: SpikingModel,
    batches: list[Tensor],
    *,
    rep_conv: RepConvForm | None = None,
    mprf: bool | None = None,
) -> SpikingModel:
    """Gives a trained Meta-SpikeFormer neurons inside RepConv, or the MPRF, near its function.

    A neuron between RepConv's factors starts where its counts follow the current almost linearly,
    and the factor after it undoes the scale. The MPRF starts as the identity.

    Args:
        model: A trained model, not quantised.
        batches: Normalised inputs, a few hundred, on which the new normalisations are measured.
        rep_conv: "spike_driven" puts neurons between RepConv's factors; as it is if omitted.
        mprf: Whether the MPRF stands before the query, key and value neurons; as it is if omitted.

    Returns:
        A new model in evaluation mode, or `model` itself if it has this form already.

    Raises:
        UserError: If the model is of another family or quantised, or the change would take
            something away that was trained.
    """
    described = model.recipe
    before = described["arguments"]
    if rep_conv is None and mprf is None and "quantization" not in described:
        return model
    if "rep_conv" not in before or "quantization" in described:
        raise UserError(
            f"only the form of an unquantised Meta-SpikeFormer can be changed, not of this "
            f"{described['name']}; leave rep_conv and mprf out"
        )
    wanted = {
        "rep_conv": before["rep_conv"] if rep_conv is None else rep_conv,
        "mprf": before["mprf"] if mprf is None else mprf,
    }
    if all(before[name] == value for name, value in wanted.items()):
        return model
    if before["rep_conv"] == "spike_driven" != wanted["rep_conv"] or (
        before["mprf"] and not wanted["mprf"]
    ):
        raise UserError(
            "a model trained with neurons inside RepConv or with the MPRF cannot lose them; leave "
            "rep_conv or mprf out, or train the other form from the start"
        )
    changed: SpikingModel = create_model(described["name"], **{**before, **wanted})
    tensors, own = model.state_dict(), changed.state_dict()
    moved = {name: tensors.get(name, value) for name, value in own.items()}
    convert = wanted["rep_conv"] != before["rep_conv"]
    inserted = {
        name: module
        for name, module in changed.named_modules()
        if convert and isinstance(module, SpikeDrivenRepConv)
    }
    for name, module in inserted.items():
        moved |= _factors(name, tensors, module)
    changed.load_state_dict(moved)
    changed.to(next(model.parameters()).dtype)
    if inserted:
        settle_statistics(changed, batches)
        for module in inserted.values():
            norm = module.depthwise.norm
            assert isinstance(norm, nn.BatchNorm2d)
            assert isinstance(module.expand.conv, nn.Conv2d)
            assert norm.running_var is not None
            deviation = norm.running_var.sqrt() / norm.weight
            module.expand.conv.weight.mul_(deviation.view(1, -1, 1, 1))
    for name, module in changed.named_modules():
        if isinstance(module, MembraneRectifier) and f"{name}.weight" not in tensors:
            _make_identity(changed, name, module)
    settle_statistics(changed, batches)
    return changed


def _factors(
    name: str, tensors: dict[str, Tensor], module: SpikeDrivenRepConv
) -> dict[str, Tensor]:
    """RepConv's tensors under the names, and at the scales, of the form with neurons between."""
    old = {key: tensors[f"{name}.{key}"] for key in _OFFICIAL}
    gain = old["border.norm.weight"]
    neuron = module.reduce_neuron
    assert isinstance(neuron, Neuron)
    levels = max(neuron.levels, 1) * neuron.threshold
    counted = levels * neuron.unit / neuron.threshold
    (mean, deviation), (next_mean, next_deviation) = _REDUCE_COUNTS, _DEPTHWISE_COUNTS
    undone = (gain.abs() / (deviation * counted)).view(-1, 1, 1, 1)
    sign = torch.where(gain < 0, -1.0, 1.0).to(gain)
    inner = torch.where(old["inner_norm.weight"] < 0, -1.0, 1.0).to(gain)
    outer = f"{name}.outer_norm"
    new = {
        "reduce.conv.weight": old["reduce.weight"],
        "reduce.norm.weight": sign * deviation * levels,
        "reduce.norm.bias": torch.full_like(gain, mean * levels),
        "reduce.norm.running_mean": old["border.norm.running_mean"],
        "reduce.norm.running_var": old["border.norm.running_var"],
        "depthwise.conv.weight": old["depthwise.weight"] * undone,
        "depthwise.norm.weight": torch.full_like(gain, next_deviation * levels),
        "depthwise.norm.bias": torch.full_like(gain, next_mean * levels),
        "expand.conv.weight": old["expand.weight"],
        "expand.norm.weight": tensors[f"{outer}.weight"] * inner,
        "expand.norm.bias": tensors[f"{outer}.bias"],
    }
    return {f"{name}.{key}": value for key, value in new.items()}


_OFFICIAL = (
    "reduce.weight",
    "border.norm.weight",
    "border.norm.running_mean",
    "border.norm.running_var",
    "depthwise.weight",
    "expand.weight",
    "inner_norm.weight",
)


def _make_identity(model: nn.Module, name: str, rectifier: MembraneRectifier) -> None:
    """The normalisation before the rectifier says what mean and deviation it passes on."""
    synapse = model.get_submodule(name.rpartition(".")[0])
    children = list(synapse.children())
    before = children[children.index(rectifier) - 1]
    assert isinstance(before, nn.BatchNorm2d)
    assert rectifier.running_mean is not None
    assert rectifier.running_var is not None
    rectifier.running_mean.copy_(before.bias)
    rectifier.running_var.copy_(before.weight.square())
    rectifier.weight.copy_((before.weight.square() + rectifier.eps).sqrt())
    rectifier.bias.copy_(before.bias)
