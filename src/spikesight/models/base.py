"""What every model shares: how inputs are presented, saved and described."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NotRequired, TypedDict, cast

import torch
from msgspec import Meta
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.calibration import CALIBRATION, write_measured
from spikesight.files.hub import upload_model
from spikesight.files.replacing import explained, replaced_file, write_text
from spikesight.files.tensors import write_tensors
from spikesight.models.measured_inputs import MeasuredInputs, digest_model
from spikesight.models.rebuilding import recipe_as_it_is
from spikesight.presentation import GlobalPool, Presentation, Readout
from spikesight.registry import create_model
from spikesight.synapses import pack_synapses
from spikesight.synapses.packed_synapse import packed_tensors

__all__ = [
    "DropPath",
    "GlobalPool",
    "Presentation",
    "Quantization",
    "Readout",
    "Recipe",
    "Shortcut",
    "SpikingModel",
]


# Of run.json: what a model learned from.
_DATA_SECTIONS = frozenset({"data", "scenes", "objects"})
_README = """---
library_name: spikesight
tags: [spiking-neural-network, image]
---
# {title}

A spiking network of spikesight (`pip install spikesight`).

```python
import spikesight as ss

model = ss.load("{name}")
```

```
spikesight predict {name} photo.jpg
```
"""

Gives = Literal["classes", "pixels", "segments", "boxes", "instances"]


class Quantization(TypedDict):
    """The arguments of `spikesight.quantize`; saved without image_bits, these were 8."""

    bits: Annotated[int, Meta(ge=2, le=8)]
    recipe: Literal["deployable", "official"]
    power_of_two: NotRequired[bool]
    image_bits: NotRequired[Annotated[int, Meta(ge=2, le=8)]]


class Recipe(TypedDict):
    """What rebuilds a model: `create_model(name, **arguments)`, then `quantize_like`.

    Where packed is true, `pack_synapses` comes last. With masked_image it is the trunk of that
    model in a `MaskedAutoencoder` of these sizes. The parts are those of the user's own files, as
    `spikesight.parts.Part` describes them.
    """

    name: str
    arguments: dict[str, Any]
    quantization: NotRequired[Quantization]
    packed: NotRequired[bool]
    parts: NotRequired[list[dict[str, str]]]
    masked_image: NotRequired[dict[str, Any]]


class DropPath(nn.Module):
    """Drops whole residual branches of random samples in training (stochastic depth).

    A sample keeps or loses the branch at all of its time steps together.

    Args:
        rate: Probability of dropping.
        steps: Time steps T.
    """

    def __init__(self, rate: float, steps: int) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise UserError(f"drop_path_rate must lie in [0, 1), not {rate}")
        self.rate = rate
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """Masks x [T*B, ...] and rescales what is kept."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty(x.shape[0] // self.steps).bernoulli_(keep).div_(keep)
        return x * mask.repeat(self.steps).view(-1, *[1] * (x.ndim - 1))

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate}"


class Shortcut(nn.Module):
    """x + branch(x).

    Args:
        branch: Gives what x is: currents (a membrane shortcut), or spikes (SEW's ADD).
        drop_path: Stochastic depth of the branch.
        steps: Time steps T.
    """

    def __init__(self, branch: nn.Module, drop_path: float, steps: int) -> None:
        super().__init__()
        self.branch = branch
        self.drop_path = DropPath(drop_path, steps)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        stream: Tensor = x + self.drop_path(self.branch(x))
        return stream


class SpikingModel(nn.Module):
    """Base class of all models; a model of your own derives from it, or from `Classifier`.

    A model is whole when its forward takes images [B, C, H, W] or frames [B, T, C, H, W] through
    `Presentation`, hands time-major maps [T*B, C, H, W] from neurons to synapses, and ends in
    `Readout`. Time steps are spread over neurons, `Presentation`, `Readout` and `DropPath` only.
    The function that builds it is registered (`spikesight.register_model`) and called by
    `create_model`, which gives the model its recipe; then every pass, command and file knows it.

    Attributes:
        steps: Time steps T. To be set.
        stride: What the height and width of an input must be divisible by. To be set.
        recipe: What `create_model` needs to build the model again; it sets this itself.
        resolved: Arguments of `create_model` as they came out, defaults filled in, so that a saved
            model outlives a change of its family's defaults. Optional.
        card: What lies beside its weights in run.json, if `spikesight.load` found one.
        measured: What lies beside them in calibration.safetensors, likewise.
        untraceable: Why no graph can say what the model computes, and the remedy; None where one
            can. `trace` asks every module that has such an attribute.
        host_code: What it computes between its `graph_parts`, for reports; empty for a single one.
        gives: What it returns, of which each task takes some: "classes" (logits [B, K]), "pixels"
            (a `PixelSegmentation`), "segments" (a `Segmentation`), "boxes" (a `DenseDetection`) or
            "instances" (boxes and masks).
    """

    recipe: Recipe
    resolved: Mapping[str, Any] = MappingProxyType({})
    card: Mapping[str, Any] | None = None
    measured: MeasuredInputs | None = None
    steps: int
    stride: int
    untraceable: str | None = None
    gives: Gives = "classes"
    host_code: str = ""

    def stages(self) -> list[nn.Module]:
        """The parts from input to output, for layer-wise learning rates; the last is the head.

        Unless a model says otherwise, its children with parameters in the order of their making.
        """
        return [child for child in self.children() if any(True for _ in child.parameters())]

    def graph_parts(self) -> dict[str, nn.Module]:
        """What of it a graph can say, each part from a `Presentation` to its `Readout`.

        The first one reads the image: it is what `trace` takes and what is verified and deployed.
        What lies between parts is host code.

        Returns:
            The parts by the path of the module from which the names in them count. Unless a model
            says otherwise, it is one graph.
        """
        return {"": self}

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay spares, whatever their dimensions."""
        return set()

    @classmethod
    def rebuild(cls, recipe: Mapping[str, Any]) -> SpikingModel:
        """Builds the model of a recipe with fresh weights, its quantisation aside."""
        model: SpikingModel = create_model(recipe["name"], **recipe["arguments"])
        return model

    def save_pretrained(
        self, folder: str | Path, *, half: bool = False, packed: bool = False
    ) -> None:
        """Writes model.safetensors and config.json, which `spikesight.load` reads.

        A model that was loaded with a run.json beside its weights gets one here too, so that
        `spikesight predict` knows how to prepare its inputs; without figures, since the weights may
        be others by now. While they are not, what its training recorded for deployment
        (calibration.safetensors) comes along as well.

        Args:
            folder: Made if it does not exist.
            half: Whether to store weights in half precision; not if quantised. Tensors of one
                dimension (normalisations, biases, scales) and those with values that half
                precision does not hold stay as they are.
            packed: Whether to store a quantised model as it is shipped: the integers of its folded
                kernels in their few bits. It evaluates and deploys as before, and cannot be
                trained on.

        Raises:
            UserError: If `packed` is asked of a model that is not quantised by the recipe
                "deployable", `half` of a quantised one, or the model is not the one that its
                recipe builds (its neurons were swapped, say), so that another would be loaded.
        """
        folder = Path(folder)
        recipe = getattr(self, "recipe", None)
        if recipe is None:
            raise UserError(
                f"{type(self).__name__} does not know how it was built; register a builder with "
                "spikesight.register_model and build it with spikesight.create_model"
            )
        recipe = cast(Recipe, recipe_as_it_is(self, recipe, type(self).rebuild))
        measured = self.measured
        if measured is not None and measured.model != digest_model(recipe, self.state_dict()):
            measured = None
        if half and "quantization" in recipe:
            raise UserError(
                "half=True would round the weights and steps of a quantised model to other "
                "integers; leave it out, or pass packed=True instead"
            )
        if packed or recipe.get("packed"):
            recipe, tensors = self._packed(recipe)
        else:
            tensors = _apart(self.state_dict())
        if half:
            tensors = {name: _as_half(tensor) for name, tensor in tensors.items()}
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CALIBRATION).unlink(missing_ok=True)  # of the weights that were here
        with replaced_file(folder / "model.safetensors") as new:
            write_tensors(new, tensors, {"format": "pt"})
        write_text(folder / "config.json", json.dumps(recipe, indent=2) + "\n")
        if self.card is not None:
            card = {**self.card, "metrics": None}
            write_text(folder / "run.json", json.dumps(card, indent=2) + "\n")
        if measured is not None:
            write_measured(folder, measured.tensors)

    def push_to_hub(
        self, name: str, *, private: bool = False, half: bool = False, packed: bool = False
    ) -> str:
        """Puts the model on the Hugging Face hub, for `spikesight.load` and `spikesight predict`.

        Uploaded is what `save_pretrained` writes, with README.md; of run.json all but the section
        that names the data, where paths of this machine stand. What else lies there is kept.

        Args:
            name: "owner/name"; made if it does not exist.
            private: Whether a new one is only seen by its owner.
            half: As for `save_pretrained`.
            packed: As for `save_pretrained`.

        Returns:
            Its address.

        Raises:
            UserError: If the name is none or the hub refuses; or as `save_pretrained` does.
        """
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            self.save_pretrained(folder, half=half, packed=packed)
            if self.card is not None:
                hidden = dict.fromkeys(_DATA_SECTIONS & self.card.keys())
                card = {**self.card, "metrics": None, **hidden}
                write_text(folder / "run.json", json.dumps(card, indent=2) + "\n")
            title = name.rpartition("/")[2]
            write_text(folder / "README.md", _README.format(title=title, name=name))
            return upload_model(folder, name, private)

    def _packed(self, recipe: Recipe) -> tuple[Recipe, dict[str, Tensor]]:
        quantization = recipe.get("quantization")
        if quantization is None or quantization["recipe"] != "deployable":
            raise UserError(
                'only a model quantised by the recipe "deployable" can be packed: others have no '
                "folded kernels of few bits; call spikesight.quantize first"
            )
        model = copy.deepcopy(self).eval()
        pack_synapses(model)
        return {**recipe, "packed": True}, packed_tensors(model)

    @torch.no_grad()
    def initialise(self, norm_gain: float = 1.0) -> None:
        """Truncated-normal weights of standard deviation 0.02 for linear maps, He for others.

        Tensors on the meta device have no values and stay as they are.

        Args:
            norm_gain: Gain of the normalisations.
        """
        if next(self.parameters()).is_meta:
            return
        for module in self.modules():
            initialise_module(module, norm_gain)


@torch.no_grad()
def initialise_module(module: nn.Module, norm_gain: float = 1.0) -> None:
    """Fresh weights of one convolution, linear map or normalisation; see `SpikingModel`."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.constant_(module.weight, norm_gain)


@torch.no_grad()
def quieten(branch: nn.Module, share: float) -> None:
    """Starts a residual branch at a share of the gain of its last normalisation.

    A fresh spiking network rounds at every neuron, and what is rounded off grows from branch to
    branch until gradients of the first layers are noise (docs/starts.md); branches that begin
    small leave the way through the stream as it is.

    Args:
        branch: Synapses and neurons, the last normalisation among them the last to compute.
        share: Of the gain that it has.
    """
    norms = [module for module in branch.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms[-1].weight.is_meta:
        norms[-1].weight.mul_(share)


@torch.no_grad()
def initialise_xavier(part: nn.Module) -> None:
    """Xavier's uniform weights for all convolutions and linear maps of a part, and no bias.

    QSD-Transformer starts so what it adds to a trained trunk (sections 5 and G.3). Normalisations
    stay as they are, and so do tensors on the meta device.

    Args:
        part: A model, or a part of one.
    """
    for module in part.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def trunk_layers(trunk: nn.Sequential) -> list[nn.Module]:
    """The layers of a trunk, first to last, those of each of its stages on their own."""
    layers: list[nn.Module] = []
    for stage in trunk.children():
        layers.extend(stage.children() if isinstance(stage, nn.Sequential) else [stage])
    return layers


def linear_rates(last: float, blocks: int) -> list[float]:
    """Stochastic depth of each block: 0 for the first, linearly up to the last one's."""
    return [last * i / max(blocks - 1, 1) for i in range(blocks)]


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that each have a memory of their own, as files have them; tied ones are copied."""
    taken: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        apart[name] = tensor.contiguous()
        place = apart[name].untyped_storage().data_ptr()
        if place in taken:
            apart[name] = tensor.clone(memory_format=torch.contiguous_format)
        taken.add(place)
    return apart


def _as_half(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point() or tensor.numel() == max(tensor.shape, default=1):
        return tensor
    half = tensor.half()
    return half if bool(half.isfinite().all()) else tensor
