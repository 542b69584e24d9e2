"""An ANN in OpenVINO, in floating point or with 8 bits: what deployed networks are timed beside."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikesight.deployment.export.openvino_runtime import shared_core
from spikesight.errors import UserError, installing, missing_package
from spikesight.graph.tracing import image_part
from spikesight.models import SpikingModel
from spikesight.models.outputs import tensors_of


class _PlainOutputs(nn.Module):
    """A model with its outputs as a tuple of tensors, which tracing wants."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensors_of(self.model(x)))


def convert_ann(model: nn.Module, example: Tensor) -> Any:
    """A model of OpenVINO for inputs of one shape.

    Args:
        model: Without spiking neurons, such as the twin with `neuron="relu"`, in evaluation mode.
        example: Inputs [B, C, H, W].
    """
    import openvino

    shape = tuple(example.shape)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing for one shape is what is wanted
        return openvino.convert_model(
            _PlainOutputs(model).eval(), example_input=example.contiguous(), input=[shape]
        )


def quantize_ann(converted: Any, calibration: Sequence[Tensor]) -> Any:
    """The same with weights and activations of 8 bits, quantised after training by NNCF.

    Args:
        converted: As `convert_ann` gives it.
        calibration: Inputs of its shape, which set the ranges of the activations.
    """
    import nncf

    inputs = [batch.contiguous().numpy() for batch in calibration]
    return nncf.quantize(converted, nncf.Dataset(inputs), subset_size=len(inputs))


def compile_ann(
    converted: Any, threads: int, precision: Literal["f32", "bf16"] = "f32"
) -> Callable[[Tensor], object]:
    """What runs a converted or quantised model on this CPU, at the lowest latency.

    Args:
        converted: The model.
        threads: Threads of a call.
        precision: Of what is not quantised.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = shared_core().compile_model(converted, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda x: request.infer([x.contiguous().numpy()])


def in_pytorch(model: nn.Module) -> Callable[[Tensor], object]:
    """What runs a model in PyTorch, in evaluation mode and the channels-last memory format."""
    model = model.eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(x: Tensor) -> object:
        return model(x.contiguous(memory_format=torch.channels_last))

    return run


def twin_forms(
    twin: SpikingModel, x: Tensor, threads: int
) -> dict[str, Callable[[Tensor], object]]:
    """Forms of an ANN twin by name: float32 and, where NNCF is installed, 8 bits.

    Args:
        twin: A model with `neuron="relu"`.
        x: Inputs [B, C, H, W] that it will be timed on; they set the ranges of the 8 bits.
        threads: Threads of a call.

    Raises:
        UserError: If the model has spiking neurons, or takes other inputs.
        MissingPackageError: If OpenVINO is not installed.
    """
    neuron = twin.recipe["arguments"]["neuron"]
    if neuron != "relu":
        raise UserError(
            f"twin has the neuron {neuron}, so it is no ANN; pass a run that was trained with "
            "--model.neuron=relu"
        )
    try:
        converted = convert_ann(image_part(twin.eval()), x)
        forms = {"twin, OpenVINO (float32)": compile_ann(converted, threads)}
    except ImportError as error:
        raise missing_package("timing a twin", "openvino", "deploy") from error
    try:
        quantized = quantize_ann(converted, [x])
    except ImportError:
        print(f"without the twin in 8 bits, which needs the package nncf: {installing('bench')}")
    else:
        forms["twin, OpenVINO (int8, NNCF)"] = compile_ann(quantized, threads)
    return forms
