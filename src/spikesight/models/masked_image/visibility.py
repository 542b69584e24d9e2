"""A trunk that works on the visible patches of its input only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.attention import AttentionProduct, Gate, SoftmaxProduct, SpikeSum
from spikesight.errors import UserError
from spikesight.models.base import DropPath
from spikesight.neurons import Neuron
from spikesight.synapses import BorderNorm, LayerScale

# What works on each position alone and maps zero to zero.
_POINTWISE = (Neuron, DropPath, LayerScale, nn.Identity, Gate)
_KNOWN = (
    *_POINTWISE,
    nn.Conv2d,
    nn.BatchNorm2d,
    nn.MaxPool2d,
    nn.LayerNorm,  # the released Spikformers hold some and never call them
    AttentionProduct,
    SoftmaxProduct,
    SpikeSum,
)


def run_visible(trunk: nn.Module, x: Tensor, visible: Tensor) -> Tensor:
    """Runs a trunk on the visible patches alone; hidden pixels reach nothing.

    Visible patches are the active positions of a sparse network, as in SparK (arXiv 2301.03580):

    - every convolution and pooling reads zeros at hidden positions and its output there is zeroed,
      so a map never grows into what is hidden;
    - every normalisation sees the active positions as its whole batch, in its statistics and in
      its running averages, and gives zero elsewhere;
    - attention sees the visible tokens as the whole map. Where it sums over keys or tokens, the sum
      is scaled by all tokens / visible tokens, so that the neurons after it get the currents of a
      whole image, which they will see in fine-tuning.

    Tokens stay in their map, hidden ones as zeros, rather than being cut out: Meta-SpikeFormer's
    attention stages convolve (RepConv 3x3), which needs neighbours in place, and a Spikformer's are
    then the same case. Zeros stay zeros between the layers because a neuron without current does
    not fire, and only normalisations and biases could give it one, which are masked. Nothing in
    the models knows of this: hooks do it for one forward pass.

    Args:
        trunk: Stages of neurons, synapses and attention products, from image to tokens.
        x: Time-major input [T*B, C, H, W].
        visible: Boolean [B, h, w], a grid of equal patches of the input, none smaller than a
            token, with equally many visible patches in every image.

    Returns:
        The trunk's map [T*B, C', H', W'], zero at hidden positions.

    Raises:
        ValueError: If the trunk holds a module about whose positions nothing is known.
    """
    positions = _Positions(visible, x.shape[0])
    borders = {module.norm: module for module in trunk.modules() if isinstance(module, BorderNorm)}
    with ExitStack() as stack:
        for name, module in trunk.named_modules():
            for handle in _hooks(name, module, positions, borders):
                stack.callback(handle.remove)
        shown = torch.where(positions.mask(x) > 0, x, x.new_zeros(()))
        tokens: Tensor = trunk(shown)
    return tokens


class _Positions:
    """Which positions of a map are active, at every resolution that comes along.

    Args:
        visible: Boolean [B, h, w].
        maps: T * B.
    """

    def __init__(self, visible: Tensor, maps: int) -> None:
        self._visible = visible.repeat(maps // visible.shape[0], 1, 1)
        self.share = float(visible[0].float().mean())
        self._rows: dict[tuple[int, int], Tensor] = {}
        self._masks: dict[tuple[int, int], Tensor] = {}

    def _at(self, height: int, width: int) -> Tensor:
        _, rows, columns = self._visible.shape
        assert height % rows == 0
        assert width % columns == 0
        tall = self._visible.repeat_interleave(height // rows, 1)
        return tall.repeat_interleave(width // columns, 2)

    def mask(self, x: Tensor) -> Tensor:
        """1 at active positions, else 0: [N, 1, H, W] for a map x [N, C, H, W]."""
        size = (x.shape[-2], x.shape[-1])
        if size not in self._masks:
            self._masks[size] = self._at(*size)[:, None].to(x.dtype)
        return self._masks[size].to(x.dtype)

    def rows(self, x: Tensor) -> Tensor:
        """Numbers of the active positions among the N * H * W of x, ascending."""
        size = (x.shape[-2], x.shape[-1])
        if size not in self._rows:
            self._rows[size] = self._at(*size).flatten().nonzero().squeeze(1)
        return self._rows[size]

    def gather(self, x: Tensor) -> Tensor:
        """Active positions [n, C] of a map x [N, C, H, W]."""
        flat = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        return flat.index_select(0, self.rows(x))

    def scatter(self, active: Tensor, like: Tensor, elsewhere: Tensor | None = None) -> Tensor:
        """A map [N, C, H, W] with the size of `like`, holding `active` [n, C] in its places.

        Args:
            active: What stands at active positions.
            like: A map of that number of images, height and width.
            elsewhere: What stands at all others, [C]; zero if omitted.
        """
        count, _, height, width = like.shape
        channels = active.shape[1]
        size = (count * height * width, channels)
        empty = active.new_zeros(size)
        if elsewhere is not None:
            empty = empty + elsewhere.to(active.dtype)
        flat = empty.index_copy(0, self.rows(like), active)
        return flat.view(count, height, width, channels).permute(0, 3, 1, 2)


def _hooks(
    name: str,
    module: nn.Module,
    positions: _Positions,
    borders: dict[nn.BatchNorm2d, BorderNorm],
) -> list[Any]:
    if isinstance(module, nn.Conv2d | nn.MaxPool2d):
        return [module.register_forward_hook(_zero_hidden(positions))]
    if isinstance(module, nn.BatchNorm2d):
        # Within RepConv what is hidden has the value of a zero input, as the border has, so that
        # RepConv stays equal to the dense kernel it folds to.
        border = borders[module].border if module in borders else None
        return _normalise_active(module, positions, border)
    if isinstance(module, AttentionProduct | SoftmaxProduct):
        return _attend_visible(module, positions)
    if isinstance(module, SpikeSum) and module.over == "tokens":
        return [module.register_forward_hook(lambda *call: call[2] / positions.share)]
    if not isinstance(module, _KNOWN) and not any(True for _ in module.children()):
        raise UserError(
            f"masked-image pre-training knows no visible part of {name or 'the trunk'}, a "
            f"{type(module).__name__}; pass a trunk of convolutions, normalisations, neurons and "
            "attention products, not quantised"
        )
    return []


def _zero_hidden(positions: _Positions) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output * positions.mask(output)

    return hook


def _normalise_active(
    norm: nn.BatchNorm2d, positions: _Positions, elsewhere: Callable[[], Tensor] | None
) -> list[Any]:
    """Hooks with which a normalisation sees the active positions as images of one pixel."""
    seen: list[Tensor] = []

    def before(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        seen.append(inputs[0])
        return positions.gather(inputs[0])[..., None, None]

    def after(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        filling = None if elsewhere is None else elsewhere()
        return positions.scatter(output.flatten(1), seen.pop(), filling)

    return [norm.register_forward_pre_hook(before), norm.register_forward_hook(after)]


def _attend_visible(product: AttentionProduct | SoftmaxProduct, positions: _Positions) -> list[Any]:
    """Hooks with which an attention product sees a row of the visible tokens of each image."""
    seen: list[Tensor] = []
    sums = isinstance(product, AttentionProduct) and not product.mean

    def row(x: Tensor) -> Tensor:
        tokens = positions.gather(x).view(x.shape[0], -1, x.shape[1])
        return tokens.transpose(1, 2)[:, :, None]

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(inputs[0])
        return tuple(map(row, inputs))

    def after(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        active = output.flatten(2).transpose(1, 2).flatten(0, 1)
        if sums:
            active = active / positions.share
        return positions.scatter(active, seen.pop())

    return [product.register_forward_pre_hook(before), product.register_forward_hook(after)]
