"""Mask R-CNN: a trunk, regions that may be objects, and boxes, classes and masks of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.models.base import SpikingModel, initialise_xavier, trunk_layers
from spikesight.models.mask_rcnn.heads import BoxHead, MaskHead
from spikesight.models.mask_rcnn.outputs import RegionDetections
from spikesight.models.mask_rcnn.proposals import ProposalHead, RegionMapper
from spikesight.models.mask_rcnn.regions import judge_regions, propose_regions, wanted_regions
from spikesight.models.mask_rcnn.sizes import MaskRCNNSizes
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.pyramid import SpikingPyramid
from spikesight.models.trunks import begin_over_trunk, build_over_trunk
from spikesight.models.variants import register_variants
from spikesight.objects import Objects
from spikesight.presentation import Readout


class MaskRCNN(SpikingModel):
    """Mask R-CNN over a spiking trunk, as QSD-Transformer (ICLR 2025, table 2) has it on COCO.

    Three spiking networks with host code between: from the image to the maps that propose regions,
    from a region to its class and box, and from a region to its mask. Host code, torchvision's,
    turns maps into regions, cuts these out of the levels (RoIAlign) and keeps the best boxes; what
    it cuts out is shown to a head at every time step. Every synapse of the three reads spikes, of
    neurons that are the same in training and evaluation.

    The convolutions of the pyramid and the hidden layers of the heads have normalisations in place
    of the biases of mmdetection's, without which a deep spiking network from scratch stays silent.
    What is added to the trunk starts with Xavier's weights (QSD-Transformer, G.2).

    Args:
        sizes: Sizes.
        neuron: Neurons of all parts.
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the trunk.
    """

    gives = "instances"
    host_code = "region proposals, RoIAlign, non-maximum suppression"

    def __init__(
        self,
        sizes: MaskRCNNSizes,
        neuron: NeuronChoice,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        sizes, gain, trunk = begin_over_trunk(self, sizes, neuron, in_channels, drop_path_rate)
        self.sizes = sizes
        self.num_classes = num_classes
        strides = trunk.feature_info.reduction()
        self._skipped = min(sum(s < sizes.finest for s in strides), len(strides) - 1)
        strides = strides[self._skipped :]
        self._strides = (*strides, 2 * strides[-1])
        width = sizes.width
        self.pyramid = SpikingPyramid(trunk.channels[self._skipped :], width, neuron)
        self.proposal_head = ProposalHead(width, neuron)
        self.box_head = BoxHead(width, sizes.box_hidden, num_classes, neuron)
        self.mask_head = MaskHead(width, sizes.mask_layers, num_classes, neuron)
        self.readout = Readout(neuron.steps)
        self.initialise(gain)
        initialise_xavier(self)
        self.proposal_head.initialise(neuron, gain)
        self.trunk = trunk
        self.stride = trunk.stride

    def forward(
        self,
        x: Tensor,
        targets: Sequence[Objects] | None = None,
        *,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        most: int = 100,
    ) -> list[RegionDetections] | dict[str, Tensor]:
        """What is in images.

        Args:
            x: Images [B, C, H, W] or event frames [B, T, C, H, W].
            targets: What there is in each image, which training needs and evaluation ignores.
            score_threshold: In evaluation boxes of a lower score are left out.
            nms_iou: Of two boxes of one class that overlap by more (IoU), the worse is left out.
            most: Largest number of boxes in an image.

        Returns:
            In evaluation what was found in each image; in training the losses by name:
            "objectness" and "proposals" of the first stage, "classes", "boxes" and "masks".

        Raises:
            UserError: In training, if there are no targets, or these have no masks.
        """
        if self.training and targets is None:
            raise UserError(
                f"{type(self).__name__} learns from regions that it chooses by what there is; pass "
                "model(images, targets) with an ss.Objects for each image, or call model.eval()"
            )
        wanted = wanted_regions(targets) if self.training and targets is not None else None
        sizes = self.sizes
        maps = self.graph_parts()[""](x)
        regions, first = propose_regions(
            x, maps, self._strides, sizes.anchor_scale, sizes.proposals, wanted
        )
        kept = {"score_thresh": score_threshold, "nms_thresh": nms_iou, "detections_per_img": most}
        found, second = judge_regions(
            x, maps, regions, self.box_head, self.mask_head, sizes.regions, kept, wanted
        )
        return first | second if self.training else found

    def graph_parts(self) -> dict[str, nn.Module]:
        """The maps of a whole image, and the two heads of a region."""
        parts = (self.trunk, self._skipped, self.pyramid, self.proposal_head, self.readout)
        mapper = RegionMapper(*parts)
        mapper.training = self.training
        return {"": mapper, "box_head": self.box_head, "mask_head": self.mask_head}

    def stages(self) -> list[nn.Module]:
        """The trunk's blocks, the pyramid and the heads."""
        heads = (self.proposal_head, self.box_head, self.mask_head)
        return [*trunk_layers(self.trunk.trunk), self.pyramid, *heads]


_build = partial(build_over_trunk, MaskRCNN)


# The maps of mmdetection's Mask R-CNN, of strides 4, 8, 16 and 32, the last one of a fourth stage
# that halves; on photos attention takes means.
_FOUR_STRIDES = {
    "strides": (2, 2, 2, 2, 2),
    "attention_scale": None,
    "attention_mean": True,
    "norm_gain": None,
}

register_variants(
    _build,
    {
        # For 128-360 px images and 2 CPU cores.
        "mask_rcnn_nano": MaskRCNNSizes(
            "metaspikformer_nano",
            width=64,
            box_hidden=256,
            mask_layers=2,
            anchor_scale=4.0,
            proposals=200,
            regions=64,
        ),
        # QSD-Transformer's detector on Meta-SpikeFormer 15M, 1333x800 px.
        "mask_rcnn_15m": MaskRCNNSizes("metaspikformer_15m", _FOUR_STRIDES),
        # SDT-V2's detector on Meta-SpikeFormer 55M.
        "mask_rcnn_55m": MaskRCNNSizes("metaspikformer_55m", _FOUR_STRIDES),
    },
)
