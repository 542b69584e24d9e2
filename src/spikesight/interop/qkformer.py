"""Checkpoints of zhouchenlin2096/QKFormer."""

from __future__ import annotations

from torch import nn

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Positive, Steps, Width
from spikesight.interop.block_names import PROJECTIONS
from spikesight.interop.filling import (
    StateDict,
    block_indices,
    load_tensors,
    rename,
    variant_of,
    within,
    without_wrapper,
)
from spikesight.interop.official_layouts import OfficialBlock, channels_first
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.qkformer import PLANS, Form, Official, QKFormerSizes, build_attention
from spikesight.registry import create_model

_TOLD = ("width", "depths", "heads", "mlp_ratio", "form", "official")
_CHANNELS_PER_HEAD = 64
# What a state dict does not tell, by the form of the released code: heads (None: one per 64
# channels of the last stage) and time steps.
_FORMS: dict[Form, tuple[int | None, int]] = {
    "imagenet": (None, 4),
    "cifar": (8, 4),
    "events": (16, 16),
}
# The convolutions of the first embedding and of each later one, in the order in which they stand.
_CONVOLUTIONS: dict[Form, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "imagenet": (("proj", "proj1", "proj2"), ("proj3", "proj4")),
    "cifar": (("proj", "proj1"), ("proj3", "proj4")),
    "events": (("proj", "proj1", "proj2", "proj3"), ("proj", "proj4")),
}
_MLP: dict[Form, str] = {"imagenet": "mlp.fc", "cifar": "mlp.mlp", "events": "mlp.mlp"}
_PLACES = {"conv": "conv", "bn": "norm"}
ATTENTION = {
    **{f"{t}_{p}": f"{ours}.{place}" for t, ours in PROJECTIONS for p, place in _PLACES.items()},
    **{f"{t}_lif": f"{ours}_neuron" for t, ours in PROJECTIONS},
    "attn_lif": "attention_neuron",
}


def load_qkformer(
    state_dict: StateDict,
    *,
    num_heads: Width | None = None,
    steps: Steps | None = None,
    neuron: str = "lif",
    levels: Levels | None = None,
    attention_scale: Positive = 0.125,
    official: Official | None = None,
) -> nn.Module:
    """Builds the model, or the lone attention, that a state dict of the authors belongs to.

    The form (ImageNet, CIFAR or events) is read off the names.
    """
    state = without_wrapper(state_dict)
    if "q_conv.weight" in state:
        width = len(state["q_conv.weight"])
        heads = num_heads or max(1, width // _CHANNELS_PER_HEAD)
        lone = QKFormerSizes(width, (1,), heads, attention_scale=attention_scale, official=official)
        choice = NeuronChoice.resolve(neuron, steps or _FORMS["imagenet"][1], levels)
        part = build_attention(lone, width, choice, last="v_conv.weight" in state)
        load_tensors(part, rename(state, ATTENTION), "QKFormer")
        return OfficialBlock(part, channels_first).eval()
    form = _form(state)
    stages = _stages(state)
    width = len(state[f"patch_embed{stages}.proj_res_conv.weight"])
    usual_heads, usual_steps = _FORMS[form]
    hidden, channels = state[f"stage1.0.{_MLP[form]}1_conv.weight"].shape[:2]
    sizes = vars(
        QKFormerSizes(
            width=width,
            depths=tuple(len(block_indices(state, f"stage{i + 1}")) for i in range(stages)),
            heads=num_heads or usual_heads or max(1, width // _CHANNELS_PER_HEAD),
            mlp_ratio=hidden // channels,
            form=form,
            attention_scale=attention_scale,
            official=official,
        )
    )
    model: nn.Module = create_model(
        variant_of("qkformer", sizes, _TOLD),
        num_classes=len(state["head.weight"]),
        in_channels=state["patch_embed1.proj_conv.weight"].shape[1],
        steps=steps or usual_steps,
        levels=levels,
        neuron=neuron,
        **sizes,
    )
    load_tensors(model, rename(state, released_names(state)), "QKFormer")
    return model.eval()


def _form(state: StateDict) -> Form:
    for name in ("patch_embed1.proj_conv", "patch_embed1.proj_res_conv", "stage1.0.tssa.q_conv"):
        if f"{name}.weight" not in state:
            raise UserError(
                f"the state dict is not QKFormer's: it has no {name}.weight; it has "
                f"{', '.join(list(state)[:5])}, ..."
            )
    if "head.weight" not in state:
        raise UserError("the state dict has no head.weight; pass that of a classifier")
    if "patch_embed1.proj3_conv.weight" in state:
        return "events"
    return "imagenet" if "patch_embed1.proj2_conv.weight" in state else "cifar"


def _stages(state: StateDict) -> int:
    """How many stages there are."""
    return len({name.partition(".")[0] for name in state if name.startswith("patch_embed")})


def released_names(state: StateDict) -> dict[str, str]:
    """How the tensors and neurons of the authors' code are called here."""
    form, stages = _form(state), _stages(state)
    names = {"head": "head.linear"}
    for stage in range(stages):
        theirs, ours = f"patch_embed{stage + 1}", f"trunk.{stage}.0"
        later = stage > 0
        lead = len(PLANS[form][later].lead)
        places = {
            convolution: f"{ours}.lead.{i}" if i < lead else f"{ours}.main.{i - lead}"
            for i, convolution in enumerate(_CONVOLUTIONS[form][later])
        }
        for convolution, place in places.items():
            names |= _convolution(f"{theirs}.{convolution}", f"{place}.conv", f"{place}.neuron")
        shortcut = f"{ours}.shortcut"
        names |= _convolution(f"{theirs}.proj_res", shortcut, f"{shortcut}_neuron")
        for i in block_indices(state, f"stage{stage + 1}"):
            block, place = f"stage{stage + 1}.{i}", f"trunk.{stage}.{i + 1}"
            for attention in ("tssa", "attn", "ssa"):
                names |= within(f"{block}.{attention}", f"{place}.attention", ATTENTION)
            for number, layer in (("1", "expand"), ("2", "project")):
                maps = f"{place}.mlp.{layer}"
                names |= _convolution(f"{block}.{_MLP[form]}{number}", maps, f"{maps}_neuron")
    return names


def _convolution(theirs: str, ours: str, neuron: str) -> dict[str, str]:
    names = {f"{theirs}_{place}": f"{ours}.{child}" for place, child in _PLACES.items()}
    return {**names, f"{theirs}_lif": neuron}
