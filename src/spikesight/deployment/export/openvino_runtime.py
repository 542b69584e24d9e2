"""Runs an exported network with OpenVINO."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesight.deployment.export.proved_runtime import ProvedRuntime, as_image

INFO = "spikesight"
FLOAT32 = "float32"
_INT8 = "int8"
_MARK = "FakeQuantize"
_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


@functools.cache
def shared_core() -> Any:
    """OpenVINO's core, one for the process.

    Its CPU plugin installs a stack for signal handlers and puts the one before it back when it
    goes. Two plugins that do not go in reverse order leave one that is freed, and the next signal
    with a handler, such as the end of a data loader's worker, ends the process.
    """
    import openvino

    return openvino.Core()


class OpenVinoRuntime(ProvedRuntime):
    """Runs an exported network on the CPU with OpenVINO.

    Where the plugin's int8 kernels are not exact, the model runs in float32. Arguments and errors
    are those of `ProvedRuntime`, with one more:

    Args:
        shape: The only shape of inputs to be taken, which makes calls faster; any batch if omitted.
    """

    RUNTIME = "OpenVINO"

    def __init__(
        self,
        model: Any,
        threads: int | None = None,
        shape: tuple[int, ...] | None = None,
        *,
        fall_back: bool = True,
    ) -> None:
        self._core = shared_core()
        is_file = isinstance(model, str | Path)
        self._source: Any = self._core.read_model(model) if is_file else model
        if shape is not None:
            self._source = self._source.clone()
            self._source.reshape(list(shape))
        forms = (_INT8, FLOAT32) if self._marks(self._source) else (FLOAT32,)
        super().__init__(model, threads, forms=forms, fall_back=fall_back)
        self._start(shape[0] if shape else 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        _, *sides = self._source.input(0).partial_shape
        return tuple(int(side.get_length()) for side in sides)

    @property
    def reads_photos(self) -> bool:
        """Whether inputs are photos."""
        return bool(self._source.input(0).get_element_type().get_type_name() == "u8")

    def metadata(self, key: str) -> str | None:
        """What lies under a key of rt_info."""
        path = [INFO, key]
        if not self._source.has_rt_info(path):
            return None
        return str(self._source.get_rt_info(path).astype(str))

    @staticmethod
    def _marks(model: Any) -> list[Any]:
        return [op for op in model.get_ops() if op.get_type_name() == _MARK]

    def _compile(self) -> None:
        settings: dict[str, str | int] = {**_SETTINGS, "NUM_STREAMS": 1}
        if self._threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self._threads
        model = self._source if self.form == _INT8 else self._without_marks()
        try:
            self.compiled: Any = self._core.compile_model(model, "CPU", settings)
        except RuntimeError:
            # Where shapes are fixed, OpenVINO 2026.4 fuses chains of comparisons that are longer
            # than its registers suffice for.
            settings["SNIPPETS_MODE"] = "DISABLE"
            self.compiled = self._core.compile_model(model, "CPU", settings)
        self._names = [next(iter(output.get_names())) for output in self.compiled.outputs]
        # Counts of neurons, which may be returned beside them, are in float32.
        kinds = (output.get_element_type().get_type_name() for output in self.compiled.outputs)
        self._logits = [
            name for name, kind in zip(self._names, kinds, strict=True) if kind == "i32"
        ]

    def _without_marks(self) -> Any:
        """The model with roundings for the marks of 8 bits, and with weights in float32."""
        from openvino import opset13

        model = self._source.clone()
        for mark in self._marks(model):
            rounded = opset13.round(mark.input_value(0), "half_to_even")
            mark.output(0).replace(rounded.output(0))
        for op in model.get_ops():
            if op.get_type_name() == "Convert":
                source = op.input_value(0).get_node()
                if source.get_type_name() == "Constant":
                    weight = opset13.constant(source.data.astype(np.float32))
                    op.output(0).replace(weight.output(0))
        return model

    def _run(self, x: Tensor) -> dict[str, Tensor]:
        results = self.compiled(as_image(x))
        return {
            name: torch.from_numpy(np.array(results[position]))
            for position, name in enumerate(self._names)
        }
