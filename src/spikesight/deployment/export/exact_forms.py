"""The forms in which a deployed network runs on this machine, compared before anyone times them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.deployment.export.exactness import ExportError
from spikesight.deployment.export.proved_runtime import ProvedRuntime
from spikesight.deployment.network import Deployed
from spikesight.deployment.runtime.arithmetic import joined
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.errors import MissingPackageError, ResultError, installing


@dataclass(frozen=True)
class ExactForms:
    """What runs a network here.

    Attributes:
        forms: By name; all give the same logits.
        absent: What is not here and why, in sentences.
    """

    forms: dict[str, Callable[[Tensor], object]]
    absent: tuple[str, ...]


def exact_forms(
    net: Deployed, x: Tensor, threads: int | None, *, simulate: bool = True
) -> dict[str, Callable[[Tensor], object]]:
    """Forms of a network by name, after a look at their logits; prints which are not here.

    Args:
        net: The network.
        x: Normalised inputs.
        threads: Threads of a runtime's call; its own choice if None.
        simulate: Whether spikes and integers in PyTorch, which are slow, are among them; without a
            runtime the integers are anyway.

    Raises:
        ResultError: If spikes or a runtime give other logits than the integers.
    """
    forms: dict[str, Callable[[Tensor], object]] = {}
    if simulate:
        forms |= {"spikes": net.spike_outputs, "integers": net.outputs}
        if not torch.equal(joined(net.spike_outputs(x)), joined(net.outputs(x))):
            raise ResultError("spikes give other logits than the integers; run verify")
    found = find_exact_forms(net, x, threads)
    for line in found.absent:
        print(line)
    return forms | found.forms or {"integers": net.outputs}


def find_exact_forms(net: Deployed, x: Tensor, threads: int | None) -> ExactForms:
    """The installed runtimes of a network, after a look at their logits.

    Args:
        net: The network.
        x: Normalised images [B, C, H, W] or frames [B, T, C, H, W], of the shape that they will be
            called with.
        threads: Threads of a runtime's call; its own choice if None.

    Raises:
        ResultError: If a runtime gives other logits than the integers.
    """
    size, frames = (x.shape[-2], x.shape[-1]), x.ndim == 5
    expected = joined(net.outputs(x))

    def run_native() -> NativeRuntime:
        return NativeRuntime(net.graph, threads, prove=False)

    def run_onnx() -> ProvedRuntime:
        from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx

        return OnnxRuntime(to_onnx(net.graph, size, frames=frames), threads)

    def run_openvino() -> ProvedRuntime:
        from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino

        network = to_openvino(net.graph, size, frames=frames)
        return OpenVinoRuntime(network, threads, tuple(x.shape))

    builders: dict[str, Callable[[], NativeRuntime | ProvedRuntime]] = {
        "libspk": run_native,
        "onnxruntime": run_onnx,
        "OpenVINO": run_openvino,
    }
    forms: dict[str, Callable[[Tensor], object]] = {}
    absent: list[str] = []
    for name, build in builders.items():
        try:
            runtime = build()
        except (MissingPackageError, ExportError) as error:
            absent.append(f"without {name}: {error}")
        except ImportError:
            absent.append(f"without {name}, which is not installed: {installing('deploy')}")
        else:
            if not torch.equal(runtime(x), expected):
                raise ResultError(f"{name} gives other logits than the integers; run verify")
            form = f"{runtime.form}, the exact fallback" if runtime.fell_back else runtime.form
            forms[f"integers, {name} ({form})"] = runtime
    return ExactForms(forms, tuple(absent))
