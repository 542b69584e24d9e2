"""A trunk and a decoder that learn to guess hidden patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.models.base import Recipe, SpikingModel
from spikesight.models.classifier import Classifier
from spikesight.models.masked_image.decoder import PatchDecoder
from spikesight.models.masked_image.sizes import MaskedImageSizes as MaskedImageSizes
from spikesight.models.masked_image.visibility import run_visible
from spikesight.presentation import Presentation, Readout


@dataclass(frozen=True)
class Reconstruction:
    """What a masked autoencoder says about images.

    Attributes:
        patches: Guesses [B, h*w, P] of the target; of pixels, each patch normalised,
            P = channels * side^2.
        visible: Which patches it saw, boolean [B, h, w].
    """

    patches: Tensor
    visible: Tensor


def draw_visible(
    images: int,
    grid: tuple[int, int],
    hidden: int,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hides random patches, equally many of every image.

    Args:
        images: Number of images B.
        grid: Patches along height and width.
        hidden: How many patches to hide.
        device: Where the result is.
        generator: Where randomness comes from; torch's own if omitted.

    Returns:
        Boolean [B, h, w], true where a patch stays visible.
    """
    noise = torch.rand(images, grid[0] * grid[1], generator=generator, device=device)
    rank = noise.argsort(1).argsort(1)
    return (rank >= hidden).view(images, *grid)


def _check_visible(visible: Tensor) -> None:
    shown = visible.flatten(1).sum(1)
    fewest, most = int(shown.min()), int(shown.max())
    if fewest != most or not 0 < most < visible[0].numel():
        raise UserError(
            f"visible shows {fewest} to {most} of {visible[0].numel()} patches; pass equally many "
            "of each image, neither none nor all"
        )


class _TrunkMaps(nn.Module):
    """A trunk from image to maps, as a graph says it."""

    def __init__(self, presentation: Presentation, trunk: nn.Module, steps: int) -> None:
        super().__init__()
        self.presentation, self.trunk, self.readout = presentation, trunk, Readout(steps)
        self.training = trunk.training

    def forward(self, images: Tensor) -> Tensor:
        """Maps [B, C', H', W'] of images [B, C, H, W]."""
        maps: Tensor = self.readout(self.trunk(self.presentation(images)))
        return maps


class MaskedAutoencoder(SpikingModel):
    """A model's trunk, which sees a part of an image, and a decoder, which guesses the rest.

    Spikformer V2's pre-training; its authors released no code, so details follow MAE
    (arXiv 2111.06377) and SparK (arXiv 2301.03580). The trunk keeps its names ("trunk."), so its
    weights are those of the classifier that is fine-tuned. With T > 1 the mask is the same at all
    time steps, and tokens are averaged over them.

    Args:
        model: A registered classifier; its trunk is used, its head is not.
        sizes: Masking and decoder.

    Raises:
        ValueError: If the model has no trunk of this kind or the patch does not fit its stride.
    """

    def __init__(self, model: SpikingModel, sizes: MaskedImageSizes) -> None:
        super().__init__()
        name = model.recipe["name"]
        if not isinstance(model, Classifier):
            raise UserError(
                f"{name} is no classifier with a trunk, so it cannot be pre-trained on masked "
                "images; pass model.name of its trunk, such as metaspikformer_nano"
            )
        self.sizes = sizes
        self.steps, self.stride = model.steps, model.stride
        self.resolved = model.resolved
        self.patch = sizes.patch or model.stride
        if self.patch % model.stride:
            raise UserError(
                f"masked_image.patch is {self.patch}; pass a multiple of the stride of {name}, "
                f"{model.stride}"
            )
        self._tokens_per_side = self.patch // model.stride
        self.channels = model.presentation.channels
        self.presentation = Presentation(self.steps, self.channels, self.patch)
        self.trunk = model.trunk
        width = model.feature_stages()[-1][1]
        self.decoder = PatchDecoder(
            width * self._tokens_per_side**2,
            sizes.values(self.channels, self.patch),
            sizes.width,
            sizes.depth,
            sizes.heads,
        )
        self._trunk_stages = model.stages()[:-1]
        self.recipe: Recipe = {**model.recipe, "masked_image": asdict(sizes)}

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Patches along height and width of images [B, C, H, W]."""
        return images.shape[-2] // self.patch, images.shape[-1] // self.patch

    def forward(self, images: Tensor, visible: Tensor | None = None) -> Reconstruction:
        """Guesses hidden patches of images [B, C, H, W].

        Args:
            images: The whole images; of hidden patches nothing is read.
            visible: Boolean [B, h, w], equally many per image; random if omitted.

        Raises:
            ValueError: If the images do not fit, or nothing would be hidden or visible.
        """
        self.presentation.check(tuple(images.shape))
        if images.ndim != 4:
            raise UserError("masked-image pre-training takes photos [B, C, H, W], not sequences")
        rows, columns = self.grid(images)
        if visible is None:
            hidden = self.sizes.hidden(rows * columns)
            visible = draw_visible(len(images), (rows, columns), hidden, device=images.device)
        elif visible.shape != (len(images), rows, columns):
            raise UserError(
                f"visible has shape {tuple(visible.shape)}; pass one of "
                f"{(len(images), rows, columns)}"
            )
        else:
            _check_visible(visible)
        if self.sizes.hiding == "sparse":
            maps = run_visible(self.trunk, self.presentation(images), visible)
            return Reconstruction(self.decoder(self._patch_tokens(maps), visible), visible)
        shown = visible.repeat_interleave(self.patch, 1).repeat_interleave(self.patch, 2)
        blanked = torch.where(shown[:, None], images, images.new_zeros(()))
        tokens = self._patch_tokens(self.trunk(self.presentation(blanked)))
        return Reconstruction(self.decoder(tokens, torch.ones_like(visible)), visible)

    def features(self, images: Tensor) -> Tensor:
        """The trunk's last map of images [B, C, H, W], pooled over space and time, [B, C']."""
        pooled: Tensor = self.trunk(self.presentation(images)).mean((2, 3))
        return pooled.view(self.steps, len(images), -1).mean(0)

    def _patch_tokens(self, maps: Tensor) -> Tensor:
        """Averages maps [T*B, C, H, W] over time; joins a patch's tokens to [B, h, w, C * n]."""
        if self.steps > 1:
            maps = maps.unflatten(0, (self.steps, -1)).mean(0)
        joined = nn.functional.pixel_unshuffle(maps, self._tokens_per_side)
        return joined.permute(0, 2, 3, 1)

    @classmethod
    def rebuild(cls, recipe: Mapping[str, Any]) -> MaskedAutoencoder:
        """Builds the model of a recipe with fresh weights."""
        return cls(super().rebuild(recipe), MaskedImageSizes(**recipe["masked_image"]))

    def graph_parts(self) -> dict[str, nn.Module]:
        """The trunk with a `Readout` of its maps, unless hidden patches change what it computes."""
        if self.sizes.hiding == "sparse":
            return super().graph_parts()
        return {"": _TrunkMaps(self.presentation, self.trunk, self.steps)}

    def stages(self) -> list[nn.Module]:
        """The trunk's stages, then the decoder."""
        return [*self._trunk_stages, self.decoder]
