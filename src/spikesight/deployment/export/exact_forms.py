"""The forms in which a deployed network runs on this machine, compared before anyone times them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spikesight.deployment.export.exactness import ExportError
from spikesight.deployment.export.proved_runtime import ProvedRuntime
from spikesight.deployment.network import Deployed
from spikesight.deployment.runtime.arithmetic import joined
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.errors import MissingPackageError, ResultError, installing


def exact_forms(
    net: Deployed, x: Tensor, threads: int | None, *, simulate: bool = True
) -> dict[str, Callable[[Tensor], object]]:
    """Forms of a network by name, after a look at their logits.

    Args:
        net: The network.
        x: Normalised inputs.
        threads: Threads of a runtime's call; its own choice if None.
        simulate: Whether spikes and integers in PyTorch, which are slow, are among them; without a
            runtime the integers are anyway.

    Raises:
        ResultError: If spikes or a runtime give other logits than the integers.
    """
    size = (x.shape[-2], x.shape[-1])
    expected = joined(net.outputs(x))
    forms: dict[str, Callable[[Tensor], object]] = {}
    if simulate:
        forms |= {"spikes": net.spike_outputs, "integers": net.outputs}
        if not torch.equal(joined(net.spike_outputs(x)), expected):
            raise ResultError("spikes give other logits than the integers; run verify")

    def run_native() -> NativeRuntime:
        return NativeRuntime(net.graph, threads, prove=False)

    def run_onnx() -> ProvedRuntime:
        from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx

        return OnnxRuntime(to_onnx(net.graph, size), threads)

    def run_openvino() -> ProvedRuntime:
        from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino

        return OpenVinoRuntime(to_openvino(net.graph, size), threads, tuple(x.shape))

    builders: dict[str, Callable[[], NativeRuntime | ProvedRuntime]] = {
        "libspk": run_native,
        "onnxruntime": run_onnx,
        "OpenVINO": run_openvino,
    }
    for name, build in builders.items():
        try:
            runtime = build()
        except MissingPackageError as error:
            print(f"without {name}: {error}")
        except ImportError:
            print(f"without {name}, which is not installed: {installing('deploy')}")
        except ExportError as error:
            print(f"without {name}: {error}")
        else:
            if not torch.equal(runtime(x), expected):
                raise ResultError(f"{name} gives other logits than the integers; run verify")
            form = f"{runtime.form}, the exact fallback" if runtime.fell_back else runtime.form
            forms[f"integers, {name} ({form})"] = runtime
    return forms or {"integers": net.outputs}
