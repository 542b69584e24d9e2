"""Small networks drawn at random, and what their forms compute differently from their integers."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.deployment.export.exactness import ExportError
from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx
from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino
from spikesight.native import spk
from spikesight.passes.integerisation import NotDeployableError
from spikesight.passes.ranges import RangeError
from tests.conftest import wake
from tests.deployment.gated_networks import GatedNetwork
from tests.deployment.native_forms import NATIVE, native_differences
from tests.deployment.random_graphs import is_a_file, with_own_gains

_NEURONS = ("i_lif", "i_lif", "lif", "ni_lif", "ie_lif", "qsd_classification", "spike2former")
_SIZES: dict[str, dict[str, list[Any]]] = {
    "metaspikformer_nano": {
        "rep_conv": ["official", "spike_driven"],
        "separable": ["official", "spike_driven"],
        "mprf": [False, True],
        "attention_scale": [0.125, None],
        "layer_scale": [None, 0.7],
    },
    "spikformer_nano": {
        "stem": ["sps", "scs", "pooled", "plain"],
        "pool_of": ["spikes", "currents"],
        "depth": [1, 2],
        "attention_scale": [0.125, 1.0, None],
        "qkv_bias": [False, True],
    },
    "spikformer_v2_nano": {"attention_scale": [0.125, None]},
    "spike_fpn_nano": {},
    "spike2former_nano": {},
    "gated": {"form": ["mask", "token", "channel"], "channels": [4, 8, 12], "heads": [1, 2, 4]},
}


class Case:
    """One network and inputs for it.

    Attributes:
        network: The deployed network.
        x: Images [B, C, H, W] or frames [B, T, C, H, W].
    """

    def __init__(self, network: ss.Deployed, x: Tensor) -> None:
        self.network, self.x = network, x

    def differences(self, *, threads: tuple[int, ...] = (1, 2)) -> dict[str, int]:
        """Samples whose logits a form computes otherwise, by form; forms without any are left out.

        A form that its runtime had to replace by a slower one counts as wrong in every sample.
        """
        x = self.x
        height, width = int(x.shape[-2]), int(x.shape[-1])
        size, frames = (height, width), x.ndim == 5
        expected = self._joined(self.network.outputs(x))
        found = {"spikes": _differing(expected, self._joined(self.network.spike_outputs(x)))}
        graph = with_own_gains(self.network.graph)
        if NATIVE and is_a_file(graph):
            best = spk.kernels()[:1]
            found |= native_differences(graph, x, kernels=best, threads=threads)
        onnx = self._written(to_onnx, size, frames)
        openvino = self._written(to_openvino, size, frames)
        for count in threads:
            for fixed in (None, tuple(x.shape)):
                if openvino is not None:
                    runtime = OpenVinoRuntime(openvino, count, fixed)
                    logits = runtime(x)
                    wrong = len(x) if runtime.fell_back else _differing(expected, logits)
                    found[f"openvino {count} {fixed}"] = wrong
            if onnx is not None:
                session = OnnxRuntime(onnx, count)
                logits = session(x)
                wrong = len(x) if session.fell_back else _differing(expected, logits)
                found[f"onnx {count}"] = wrong
        return {form: wrong for form, wrong in found.items() if wrong}

    def _written(self, write: Any, size: tuple[int, int], frames: bool) -> Any:
        try:
            return write(self.network.graph, size, frames=frames)
        except ExportError:
            return None

    @staticmethod
    def _joined(outputs: tuple[Tensor, ...]) -> Tensor:
        return torch.cat([output.flatten(1) for output in outputs], 1)


def _differing(expected: Tensor, logits: Tensor) -> int:
    return int((logits.flatten(1) != expected).any(1).sum())


def drawn(seed: int) -> Mapping[str, Any]:
    """Options of `case`, drawn at random."""
    rng = random.Random(seed)
    families = ["metaspikformer_nano"] * 3 + ["spikformer_nano"] * 4 + list(_SIZES)[2:]
    name = rng.choice([*families, "gated", "gated"])
    neuron = rng.choice(_NEURONS)
    return {
        "name": name,
        "sizes": {field: rng.choice(values) for field, values in _SIZES[name].items()},
        "neuron": neuron,
        "steps": rng.choice([1, 1, 1, 2, 3]),
        "levels": 1 if neuron == "lif" else rng.choice([1, 2, 3, 4, 5, 8]),
        "channels": rng.choice([1, 2, 3, 5]),
        "classes": rng.choice([1, 2, 10, 17]),
        "bits": rng.choice([None, None, 2, 3, 4, 5, 6, 8]),
        "power_of_two": rng.random() < 0.3,
        "weight_bits": rng.choice([2, 3, 4, 6, 8, 8, 8]),
        "size": (rng.choice([1, 2, 3, 4]), rng.choice([1, 2, 3, 5])),
        "scale": rng.choice([0.1, 1.0, 5.0]),
        "batch": rng.choice([1, 2, 3, 7]),
        "awake": rng.random() < 0.5,
        "frames": rng.random() < 0.2,
        "seed": rng.randrange(10**6),
    }


def case(
    *,
    name: str,
    sizes: Mapping[str, Any],
    neuron: str,
    steps: int,
    levels: int,
    channels: int,
    classes: int,
    bits: int | None,
    power_of_two: bool,
    weight_bits: int,
    size: tuple[int, int],
    scale: float,
    batch: int,
    awake: bool,
    frames: bool,
    seed: int,
) -> Case | None:
    """A network of these options; None where they fit no integers.

    Args:
        name: The model.
        sizes: Its other options.
        neuron: Its neuron.
        steps: Time steps T.
        levels: Levels D.
        channels: Channels of the input.
        classes: Classes K.
        bits: Bits of quantised weights; None leaves them real.
        power_of_two: Whether their steps are powers of two.
        weight_bits: Bits of the others.
        size: Height and width in strides.
        scale: Magnitude of the images that set the grid.
        batch: Inputs B beside those that fill the range.
        awake: Whether normalisations make every neuron fire, or are random.
        frames: Whether inputs are frames.
        seed: Of weights and inputs.
    """
    torch.manual_seed(seed)
    build: Callable[..., ss.SpikingModel] = partial(ss.create_model, name)
    if name == "gated":
        build = GatedNetwork
    model = build(
        num_classes=classes,
        in_channels=channels,
        steps=steps,
        levels=levels,
        neuron=neuron,
        **sizes,
    ).eval()
    height, width = size[0] * model.stride, size[1] * model.stride
    shown = (steps,) if frames else ()
    example = torch.randn(4, *shown, channels, height, width) * scale
    if awake:
        wake(model, example)
    else:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.1, 1.5)
    try:
        if bits is not None:
            ss.quantize(model, bits, power_of_two=power_of_two)
            model.eval()
        network = ss.deploy(model, example, weight_bits=weight_bits)
    except (NotDeployableError, RangeError):
        return None
    except ValueError as error:
        if "no power of two" in str(error) or "is a power of two" in str(error):
            return None
        raise
    x = torch.randn(batch, *shown, channels, height, width)
    loud = torch.randn(24, *shown, channels, height, width) * 3 * scale
    return Case(network, torch.cat([x, loud]))


def search(first: int, count: int) -> dict[int, dict[str, int]]:
    """Draws networks by consecutive seeds and returns what differs, by seed."""
    found: dict[int, dict[str, int]] = {}
    for seed in range(first, first + count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = case(**drawn(seed))
            wrong = {} if one is None else one.differences()
        if wrong:
            found[seed] = wrong
    return found
