"""Integerise: a folded network with integers for weights, currents, thresholds and membranes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NoReturn, assert_never

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.graph import (
    Add,
    Affine,
    AttentionProduct,
    CurrentProduct,
    Embedding,
    Gate,
    Graph,
    Input,
    MaskProduct,
    MaxPool,
    Neuron,
    Node,
    Output,
    Pool,
    Position,
    Rearrange,
    Resize,
    Sample,
    SpikeSum,
    Synapse,
    integer_vocabulary as integer,
)
from spikesight.graph.counts import counts_of, require_ordered_maxima
from spikesight.neurons.dynamics import Dynamics
from spikesight.passes.calibration import Calibration
from spikesight.passes.fixed_point import LEAST_PEAK, finer_bits, grid_of, nearest_short
from spikesight.passes.folding import fold
from spikesight.passes.map_before_mean import map_before_mean
from spikesight.passes.ranges import EXACT_IN_FLOAT32, RangeError, Reach, prove_node, reach_of
from spikesight.passes.thresholds import rounding_of, thresholds_of
from spikesight.passes.weight_rounding import Source, WeightRounding

_LOGIT_ROOM = EXACT_IN_FLOAT32 // 2
_STREAM_BITS, _FEWEST_STREAM_BITS = 10, 4
_MEMBRANE_BITS = 10
_MEAN_BITS = 8
_POSITION_BITS = 4
_INTERMEDIATE_BITS = 11
_IMAGE_HIGH = 127
# Two products of a pixel with such a weight fit into 16 bits, in which processors without
# dot-product instructions add them.
IMAGE_WEIGHT_BITS = 7


class NotDeployableError(UserError):
    """A network holds something that has no integer form."""


@dataclass(frozen=True)
class IntegerSettings:
    """How fine an integer network is.

    Attributes:
        max_size: Largest height and width of an input; ranges are proved up to it.
        weight_bits: Bits of a weight, 2 to 8.
        stream_bits: Bits after the binary point of a residual stream, 1 to 16; if None, 10 or as
            many fewer as the range proof asks for.
    """

    max_size: tuple[int, int]
    weight_bits: int = 8
    stream_bits: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 8:
            raise UserError(f"weight_bits is {self.weight_bits}; pass 2 to 8")
        if self.stream_bits is not None and not 1 <= self.stream_bits <= 16:
            raise UserError(f"stream_bits is {self.stream_bits}; pass 1 to 16")
        if min(self.max_size) < 1:
            raise UserError(f"max_size is {self.max_size}; pass a height and a width in pixels")


def integerise(graph: Graph, settings: IntegerSettings, calibration: Calibration) -> integer.Graph:
    """Gives every value of a network an integer form.

    - A synapse that only neurons read keeps a scale per channel; with its bias it folds into D
      integer thresholds per channel, and nothing is left to multiply.
    - A synapse into a residual stream has power-of-two scales per channel, so that its current
      lands on the stream's fixed-point grid by a shift.
    - Weights that training quantised come out as the very integers of training, in as few bits as
      they need; into a residual stream, where their steps are powers of two. Others are rounded to
      `weight_bits`, with scales from their own range; those that read the image to at most 7.
    - Over T > 1 steps the current lands on a finer membrane grid by a shift; the leak is a
      shift that rounds down, and the soft reset subtracts an integer.
    - A mean over pixels or over an attention's keys is a sum, and its neuron's thresholds count
      what was summed. A linear map of the mean of counts (Spikformer's classifier) comes before the
      sum, so that it reads spikes; its grid is so coarse that the logits stay below 2^24. That of a
      mean of currents (SpikingResformer's) does too, and reads currents of few bits.
    - A product of a current with spikes is whole numbers on the current's grid; its factors, one
      for each head, lie in its neuron's thresholds, which are those of one number of keys.
    - A sum of counts is a count, of more levels; so is a product of two. A sum of spikes over
      tokens or channels is a whole number, whose factor lies in its neuron's thresholds.
    - Maps double in sixteenths; deformable sampling rounds positions to sixteenths of a pixel, or
      to the grid that the model was trained with.

    Args:
        graph: As `trace` or `fold` returns it.
        settings: Bits and the largest size.
        calibration: The image's range, and mean inputs by which the mean error of rounding a
            weight is taken out of the bias.

    Returns:
        The integer network.

    Raises:
        NotDeployableError: If a neuron or value has no integer form; names it and the remedy.
        RangeError: If 32 bits do not suffice for a value; names it and the bits.
    """
    folded = map_before_mean(fold(graph)).to(torch.float64)
    rounding = WeightRounding(calibration.mean_inputs)

    def integerised(stream_bits: int) -> integer.Graph:
        return _Integeriser(folded, settings, calibration, rounding, stream_bits).run()

    if settings.stream_bits is not None:
        return integerised(settings.stream_bits)
    too_wide: RangeError | None = None
    for bits in range(_STREAM_BITS, _FEWEST_STREAM_BITS - 1, -1):
        try:
            return integerised(bits)
        except RangeError as error:
            too_wide = too_wide or error
        except NotDeployableError:
            if too_wide is None:
                raise
            break
    assert too_wide is not None
    raise too_wide


@dataclass(frozen=True)
class _Meaning:
    """What one integer of a value stands for.

    Attributes:
        scale: Real value of one unit, [C] or [1] float64.
        offset: Real value of zero, [C] or [1] float64.
        summed: Whether the value is a sum over pixels instead of their mean.
    """

    scale: Tensor
    offset: Tensor
    summed: bool = False


def _plain(scale: float) -> _Meaning:
    return _Meaning(torch.tensor([scale], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))


class _Integeriser:
    def __init__(
        self,
        graph: Graph,
        settings: IntegerSettings,
        calibration: Calibration,
        rounding: WeightRounding,
        stream_bits: int,
    ) -> None:
        self.graph = graph
        self.counts = counts_of(graph)
        self.max_size = settings.max_size
        self.bits = settings.weight_bits
        self.stream_bits = stream_bits
        self.rounding = rounding
        self.image_shift = math.floor(math.log2(_IMAGE_HIGH / max(calibration.peak, LEAST_PEAK)))
        self.nodes: list[integer.Node] = []
        self.meanings: dict[str, _Meaning] = {}
        self.reaches: dict[str, Reach] = {}

    def run(self) -> integer.Graph:
        require_ordered_maxima(self.graph, NotDeployableError)
        for node in self.graph.nodes:
            self._convert(node)
        made = integer.Graph(tuple(self.nodes), self.max_size)
        made.proved.update(self.reaches)
        return made

    def _append(
        self, node: integer.Node, meaning: _Meaning, accumulated: integer.Interval | None = None
    ) -> None:
        self.nodes.append(node)
        self.meanings[node.name] = meaning
        self.reaches |= prove_node(node, self.reaches, self.max_size, accumulated)

    def _convert(self, node: Node) -> None:
        name, inputs = node.name, node.inputs
        match node:
            case Input(steps=steps, channels=channels, stride=stride):
                shift = self.image_shift
                image = integer.Input(
                    name, (), steps, channels, stride, shift, -_IMAGE_HIGH - 1, _IMAGE_HIGH
                )
                self._append(image, _plain(2.0**-shift))
            case Synapse():
                self._convert_synapse(node)
            case Neuron(dynamics=dynamics):
                if dynamics is None:
                    raise NotDeployableError(
                        f"{name} is a ReLU and has no integer form; create the model with a "
                        'spiking neuron such as neuron="i_lif"'
                    )
                self._append(self._neuron(node, dynamics), _plain(1.0))
            case Add():
                if not self.counts.keys() >= set(inputs):
                    for source in inputs:
                        self._require_grid(name, source)
                self._append(integer.Add(name, inputs), self.meanings[inputs[0]])
            case Gate():
                for source in inputs:
                    self._require_counts(name, source)
                unit = math.prod(float(self.meanings[source].scale) for source in inputs)
                self._append(integer.Gate(name, inputs), _plain(unit))
            case SpikeSum(over=over, heads=heads, scale=scale):
                self._require_counts(name, inputs[0])
                meaning = _plain(nearest_short(scale))
                self._append(integer.SpikeSum(name, inputs, over, heads), meaning)
            case CurrentProduct():
                self._convert_current_product(node)
            case AttentionProduct(heads=heads, scale=scale, mean=mean):
                meaning = replace(_plain(nearest_short(scale)), summed=mean)
                self._append(integer.Attention(name, inputs, heads, mean), meaning)
            case Pool():
                meaning = self.meanings[inputs[0]]
                if meaning.scale.numel() != 1 or meaning.summed:
                    self._refuse_stream(name, inputs[0])
                self._append(integer.Pool(name, inputs), replace(meaning, summed=True))
            case MaxPool(kernel=kernel, stride=stride, padding=padding):
                # A scale is positive, so integers rise with what they mean.
                if self.meanings[inputs[0]].summed:
                    raise NotDeployableError(
                        f"{name} takes the maximum of {inputs[0]}, a mean whose neuron counts what "
                        "was summed; let a neuron stand between the two"
                    )
                maximum = integer.MaxPool(name, inputs, kernel, stride, padding)
                self._append(maximum, self.meanings[inputs[0]])
            case Output(steps=steps, of_queries=of_queries):
                meaning = self.meanings[inputs[0]]
                if meaning.scale.numel() != 1:
                    self._refuse_product(inputs[0])
                pixels = self.reaches[inputs[0]].pixels
                scale = float(meaning.scale) / steps / pixels
                self._append(integer.Output(name, inputs, steps, scale, of_queries), _plain(scale))
            case Rearrange():
                raise NotDeployableError(
                    f"{name} permutes memory as the authors' code does, which has no integer form; "
                    "train and deploy the model without official=True"
                )
            case Embedding() | Position() | Resize() | Sample() | MaskProduct():
                self._convert_segmenter(node)
            case _:
                assert_never(node)

    def _convert_current_product(self, node: CurrentProduct) -> None:
        """The thresholds behind it take in a factor for each head, made for the keys there are."""
        current, spikes = node.inputs
        self._require_grid(node.name, current)
        self._require_counts(node.name, spikes)
        shape = self.reaches[current].shape
        unit = 2.0**-self.stream_bits * float(self.meanings[spikes].scale) * node.scale
        divisor = (node.rate * (node.fixed_summands or node.summands(shape))).sqrt()
        factors = torch.tensor(
            [nearest_short(unit / float(d)) for d in divisor], dtype=torch.float64
        )
        product = integer.CurrentProduct(
            node.name, node.inputs, node.over, node.heads, shape.pixels
        )
        of_head = node.sums(shape)
        self._append(product, replace(_plain(1.0), scale=factors.repeat_interleave(of_head)))

    def _convert_segmenter(
        self, node: Embedding | Position | Resize | Sample | MaskProduct
    ) -> None:
        name, inputs = node.name, node.inputs
        grid = 2.0**-self.stream_bits
        match node:
            case Embedding(value=value):
                integers = (value / grid).round().to(torch.int64)
                self._append(integer.Embedding(name, inputs, integers), _plain(grid))
            case Position(channels=channels):
                position = integer.Position(name, inputs, channels, self.stream_bits)
                self._append(position, _plain(grid))
            case Resize():
                self._require_grid(name, inputs[0])
                self._append(integer.Resize(name, inputs), _plain(grid))
            case Sample(groups=groups, side=side, scale=scale, offset_bits=offset_bits):
                for source in inputs[:2]:
                    self._require_grid(name, source)
                self._require_counts(name, inputs[2])
                bits = _POSITION_BITS if offset_bits is None else offset_bits
                sample = integer.Sample(name, inputs, groups, side, self.stream_bits, bits)
                self._append(sample, _plain(grid * scale))
            case MaskProduct(scale=scale, inhibitory=inhibitory):
                self._require_counts(name, inputs[0])
                if inputs[1] not in self.counts:
                    self._require_grid(name, inputs[1])
                unit = float(self.meanings[inputs[1]].scale)
                self._append(integer.MaskProduct(name, inputs, inhibitory), _plain(unit * scale))
            case _:
                assert_never(node)

    def _require_counts(self, name: str, source: str) -> None:
        if source not in self.counts:
            raise NotDeployableError(
                f"{name} reads {source}, which is not spikes, so it has no integer form; "
                "let a neuron stand before it"
            )

    def _require_grid(self, name: str, source: str) -> None:
        if float(self.meanings[source].scale.max()) != 2.0**-self.stream_bits:
            self._refuse_stream(name, source)

    def _refuse_stream(self, name: str, source: str) -> NoReturn:
        raise NotDeployableError(
            f"{name} adds or pools {source}, which is not a current on the residual stream; "
            "let a synapse stand between the neuron and the sum"
        )

    def _refuse_product(self, name: str) -> NoReturn:
        raise NotDeployableError(
            f"{name} has a factor for each head, which only a neuron's thresholds take in; let a "
            "neuron alone read it"
        )

    def _convert_synapse(self, node: Synapse) -> None:
        source = node.inputs[0]
        if self.meanings[source].summed:
            raise NotDeployableError(
                f"{node.name} reads {source}, a mean over pixels that is no spike; let a neuron "
                "stand before it, or let it alone read the mean of spikes"
            )
        for index, factor in enumerate(node.factors):
            last = index == len(node.factors) - 1
            name = node.name if last else f"{node.name}[{index}]"
            if not factor.is_finite:
                raise NotDeployableError(
                    f"{name} has weights or biases that are not finite; train it again, at a lower "
                    "learning rate"
                )
            if factor.border is not None and bool(factor.border.any()):
                raise NotDeployableError(
                    f"{name} pads with a value other than zero; only zero padding is deployable"
                )
            if last and self.graph.lands_on_neurons(node.name):
                self._synapse_to_neuron(name, source, factor)
            else:
                self._synapse_to_stream(name, source, factor, last=last)
            source = name

    def _synapse_to_neuron(self, name: str, source: str, factor: Affine) -> None:
        rounded = self.rounding.for_neurons(name, self._source(source), factor)
        # The scale's own grid is finer than one unit of the accumulator.
        grid = grid_of(rounded.scale)
        meaning = _Meaning(rounded.scale, (rounded.bias / grid).round() * grid)
        self._append(rounded.node, meaning, rounded.accumulated)

    def _synapse_to_stream(self, name: str, source: str, factor: Affine, *, last: bool) -> None:
        """Currents land on the grid by a shift."""
        rounded = self.rounding.for_stream(name, self._source(source), factor)
        scale, grid = rounded.scale, 2.0**-self.stream_bits
        largest = float(scale.max()) * max(rounded.accumulated.magnitude, 1)
        if not last:
            grid = 2.0 ** math.ceil(math.log2(largest) - _INTERMEDIATE_BITS)
        elif (summed := self._summed_logits(name, source)) > 1:
            largest += float(0.0 if factor.bias is None else factor.bias.abs().max())
            grid = max(grid, 2.0 ** math.ceil(math.log2(largest * summed / _LOGIT_ROOM)))
        shift = torch.log2(scale / grid).round().to(torch.int64)
        finer = torch.minimum(scale, torch.full_like(scale, grid))
        half = torch.where(shift < 0, torch.exp2(-shift.double() - 1), 0.0)
        bias = ((rounded.bias / finer).round() + half).to(torch.int64)
        node = replace(rounded.node, shift=shift, bias=bias)
        inputs = [self.reaches[source]]
        reach = reach_of(node, inputs, self.max_size, rounded.accumulated)[name].interval
        if bool((reach.low == reach.high).all()) and bool(factor.weight.any()):
            raise NotDeployableError(
                f"{name} is too small for the residual stream: every current rounds to a constant; "
                "train its layer scale further, or pass more stream_bits"
            )
        self._append(node, _plain(grid), rounded.accumulated)

    def _source(self, name: str) -> Source:
        """What a synapse reads."""
        if self.meanings[name].scale.numel() != 1:
            self._refuse_product(name)
        unit, interval = float(self.meanings[name].scale), self.reaches[name].interval
        return Source(name, unit, interval, self._bits(name))

    def _bits(self, source: str) -> int:
        """Bits of a weight that this pass rounds."""
        image = isinstance(self.graph.by_name.get(source), Input)
        return min(self.bits, IMAGE_WEIGHT_BITS) if image else self.bits

    def _summed_logits(self, name: str, source: str) -> int:
        """How many currents of a synapse the logits sum, over pixels and time; 1 elsewhere."""
        (reader, *others) = self.graph.consumers[name]
        pools = isinstance(reader, Pool) and not others
        if not pools or not isinstance(self.graph.consumers[reader.name][0], Output):
            return 1
        height, width = self.reaches[source].shape.size
        return height * width * self.graph.input.steps

    def _neuron(self, node: Neuron, dynamics: Dynamics) -> integer.Neuron:
        if dynamics.unit != 1.0:
            raise NotDeployableError(
                f"{node.name} is read by something else than synapses and attention; its unit "
                f"{dynamics.unit} has no place in an integer network"
            )
        meaning = self.meanings[node.inputs[0]]
        # A current scaled by 1 - retain is the same as a threshold divided by it.
        reach = dynamics.threshold / ((1 - dynamics.retain) if dynamics.decay_input else 1)
        if dynamics.steps > 1:
            return self._neuron_over_time(node, dynamics, meaning, reach)
        # What counts keys is coarse, unlike a current on the residual stream.
        coarse = isinstance(self.graph.by_name[node.inputs[0]], AttentionProduct) and meaning.summed
        shift = finer_bits(reach / meaning.scale, _MEAN_BITS) if coarse else 0
        scale = meaning.scale * 2.0**-shift
        thresholds = thresholds_of(scale, meaning.offset, dynamics, reach)
        neuron = integer.Neuron(
            node.name,
            node.inputs,
            steps=1,
            levels=dynamics.levels,
            thresholds=thresholds,
            step=torch.zeros(len(thresholds), dtype=torch.int64),
            bias=torch.zeros(len(thresholds), dtype=torch.int64),
            shift=shift,
            leak=integer.Leak("none"),
            reset=dynamics.reset,
            per_pixel=meaning.summed,
        )
        interval = self.reaches[node.inputs[0]].interval
        rounding = rounding_of(neuron, meaning.scale, meaning.offset, dynamics, reach, interval)
        return replace(neuron, rounding=rounding)

    def _neuron_over_time(
        self, node: Neuron, dynamics: Dynamics, meaning: _Meaning, reach: float
    ) -> integer.Neuron:
        units = reach / meaning.scale
        shift = finer_bits(units, _MEMBRANE_BITS)
        step = (units * 2.0**shift).round().to(torch.int64)
        bias = (meaning.offset / meaning.scale * 2.0**shift).round().to(torch.int64)
        on_membrane = _plain(1.0)
        thresholds = thresholds_of(on_membrane.scale, on_membrane.offset, dynamics, step.double())
        return integer.Neuron(
            node.name,
            node.inputs,
            steps=dynamics.steps,
            levels=dynamics.levels,
            thresholds=thresholds,
            step=step,
            bias=bias.expand_as(step).clone(),
            shift=shift,
            leak=_leak(node.name, dynamics.retain),
            reset=dynamics.reset,
            per_pixel=meaning.summed,
        )


def _leak(name: str, retain: float) -> integer.Leak:
    if retain in (0.0, 1.0):
        return integer.Leak("all" if retain else "none")
    for shift in range(1, 16):
        if retain == 2.0**-shift:
            return integer.Leak("share", shift)
        if retain == 1 - 2.0**-shift:
            return integer.Leak("rest", shift)
    nearest = min(
        (s * 2.0**-k + (s < 0) for k in range(1, 9) for s in (1, -1)), key=lambda r: abs(r - retain)
    )
    raise NotDeployableError(
        f"{name} retains {retain:.4g} of its membrane, which no shift computes; train with "
        f"{nearest:.4g} (deployable are 2^-k and 1 - 2^-k)"
    )
