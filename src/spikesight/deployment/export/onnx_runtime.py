"""Runs an exported network with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spikesight.deployment.export.proved_runtime import ProvedRuntime, as_image

if TYPE_CHECKING:
    import onnx

_OPTIMISED, _PLAIN = "optimised", "plain"


class OnnxRuntime(ProvedRuntime):
    """Runs an exported network on the CPU with onnxruntime.

    Where onnxruntime's optimised form of the model is not exact, the model runs operator by
    operator. Arguments and errors are those of `ProvedRuntime`.
    """

    RUNTIME = "onnxruntime"

    def __init__(
        self,
        model: onnx.ModelProto | str | Path,
        threads: int | None = None,
        *,
        fall_back: bool = True,
    ) -> None:
        super().__init__(model, threads, forms=(_OPTIMISED, _PLAIN), fall_back=fall_back)
        self._model = model
        self._start(1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        _, *sides = self._session.get_inputs()[0].shape
        return tuple(sides)

    @property
    def reads_photos(self) -> bool:
        """Whether inputs are photos."""
        return bool(self._session.get_inputs()[0].type == "tensor(uint8)")

    def metadata(self, key: str) -> str | None:
        """What lies under a key of metadata_props."""
        found: str | None = self._session.get_modelmeta().custom_metadata_map.get(key)
        return found

    def _compile(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
            options.inter_op_num_threads = 1
        if self.form == _PLAIN:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model = self._model
        source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
        self._session: Any = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )
        outputs = self._session.get_outputs()
        self._names: list[str] = [output.name for output in outputs]
        # Counts of neurons, which may be returned beside them, are in float32.
        self._logits = [output.name for output in outputs if output.type == "tensor(int32)"]

    def _run(self, x: Tensor) -> dict[str, Tensor]:
        arrays = self._session.run(self._names, {"image": as_image(x)})
        return {
            name: torch.from_numpy(array) for name, array in zip(self._names, arrays, strict=True)
        }
