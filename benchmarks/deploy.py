"""A deployed network against its spike simulation and against ANNs, side by side in one run.

    python benchmarks/deploy.py                    batch 1
    python benchmarks/deploy.py --batch 8 --json
    python benchmarks/deploy.py --memory           also each form's memory, in fresh processes
    python benchmarks/deploy.py --rep-conv folded  neurons around RepConv only
    python benchmarks/deploy.py --bits 4           4-bit weights
    python benchmarks/deploy.py --activity 0.35 0.1 0.05 0.02

Forms alternate round by round; medians; ratios are what counts, times depend on the machine. The
second time is that of the processor, of all threads together, which busy neighbours change less.
All forms have the same sizes and untrained weights; normalisations carry the statistics of a random
batch, and the attention's factor is one at which its neurons fire without saturating. `ours` is the
integer network in OpenVINO and `native` in libspk, whose counts and logits are compared with the
integers first: a difference or a silent neuron ends the run. The ANNs are the twin: ReLU for every
neuron of the same form.

With --activity these two alone run, once for each share of counts that are not zero: thresholds
rise until no neuron fires more (benchmarks/quieter.py), and some may be silent.

With neurons inside RepConv (spike_driven, the default) every synapse but the first reads spikes and
the network has as many multiply-accumulates as its twin. Folded, RepConv is one dense 3x3 kernel,
which has more of them than the three factors that the twin keeps.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import spikesight as ss
from quieter import nonzero_by_operation, quieter
from spikesight.deployment.ann_runtime import compile_ann, convert_ann, quantize_ann
from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino
from spikesight.deployment.runtime.native import NativeRuntime
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import prove_ranges
from spikesight.processor import processor_name
from spikesight.timing import time_rounds

LEVELS = 4
_MEMORY = ("VmHWM:", "VmRSS:")
# At 196 tokens the authors' 1/8 would fill every attention neuron to its last level.
ATTENTION_SCALE = 2.0**-9
REP_CONV = {"spike_driven": "spike_driven", "folded": "official"}
Form = Callable[[Tensor], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="metaspikformer_15m")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, help="31 for batch 1, else 7")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rep-conv", choices=list(REP_CONV), default="spike_driven")
    parser.add_argument("--bits", type=int, default=8, help="of weights, 2 to 8")
    parser.add_argument(
        "--activity", type=float, nargs="+", help="largest shares of counts that are not zero"
    )
    parser.add_argument("--memory", action="store_true", help="memory of each form as well")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--only", choices=list(FORMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only:
        _report_memory(options)
        return
    networks = Networks(options)
    rounds = options.rounds or (31 if options.batch == 1 else 7)
    print(
        f"{options.model}, RepConv {options.rep_conv}, {_multiply_accumulates(networks) / 1e9:.2f} "
        f"GMAC, {options.bits}-bit weights, batch {options.batch}, {options.size} px, "
        f"{options.threads} threads of {processor_name()}, medians of {rounds} alternating rounds",
        flush=True,
    )
    if options.activity:
        _compare_activities(networks, rounds)
        return
    forms = {name: build(networks) for name, build in FORMS.items()}
    milliseconds, of_processor = _times(forms, _images(options), rounds)
    memory = _memories(options) if options.memory else {}
    for name in milliseconds:
        line = _line(name, milliseconds, of_processor)
        if memory:
            line += "  {:7.0f} MB peak  {:7.0f} MB resident".format(*memory[name])
        print(line)
    for name, size in (networks.file_sizes | _other_file_sizes(networks)).items():
        print(f"{name:<26} {size / 1e6:9.2f} MB file")
    if options.json:
        print(json.dumps(milliseconds))


def _compare_activities(networks: Networks, rounds: int) -> None:
    x = _images(networks.options)
    deployed = networks.deployed
    for share in (1.0, *networks.options.activity):
        networks.deployed = deployed if share == 1 else quieter(deployed, x, share)
        found = nonzero_by_operation(networks.deployed.graph, x)
        forms = {"ours": _ours(networks), "native": _native(networks)}
        of = "as it is" if share == 1 else f"at most {share:g}"
        print(f"nonzero counts {of}: {found:.3f} of multiply-accumulates")
        times = _times(forms, x, rounds)
        for name in forms:
            print(_line(name, *times), flush=True)


def _times(
    forms: dict[str, Form], x: Tensor, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Medians in milliseconds: of the clock, and of the processor."""
    calls = {name: partial(form, x) for name, form in forms.items()}
    time_rounds(calls, 3)
    by_clock, of_processor = (
        {name: statistics.median(each) for name, each in time_rounds(calls, rounds, clock).items()}
        for clock in (time.perf_counter, time.process_time)
    )
    return by_clock, of_processor


def _line(name: str, milliseconds: dict[str, float], of_processor: dict[str, float]) -> str:
    value, own = milliseconds[name], of_processor[name]
    return (
        f"{name:<26} {value:9.1f} ms  {value / milliseconds['ours']:6.2f} x ours   "
        f"{own:9.1f} ms of processor  {own / of_processor['ours']:6.2f} x ours"
    )


class Networks:
    """The networks that forms are made of, the same in every form."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.size = (options.size, options.size)
        self.file_sizes: dict[str, int] = {}

    def spiking(self) -> ss.SpikingModel:
        """Integer neurons, T = 1, D = 4."""
        return self._model("i_lif")

    def twin(self) -> ss.SpikingModel:
        """ReLU for neurons."""
        return self._model("relu")

    @functools.cached_property
    def deployed(self) -> ss.Deployed:
        """The integer network."""
        return ss.deploy(self.spiking(), _images(self.options), weight_bits=self.options.bits)

    def _model(self, neuron: str) -> ss.SpikingModel:
        torch.manual_seed(0)
        model = ss.create_model(
            self.options.model,
            num_classes=1000,
            neuron=neuron,
            levels=LEVELS,
            separable="spike_driven",
            rep_conv=REP_CONV[self.options.rep_conv],
            attention_scale=ATTENTION_SCALE,
        )
        assert isinstance(model, ss.SpikingModel)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        with torch.no_grad():
            model.train()(_images(self.options, batch=4))
        return model.eval().to(memory_format=torch.channels_last)


def _images(options: argparse.Namespace, batch: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(batch or options.batch, 3, *[options.size] * 2, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def _without_gradients(call: Callable[[Tensor], Tensor]) -> Form:
    def run(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return call(x)

    return run


def _simulation(networks: Networks) -> Form:
    return ss.unroll(ss.trace(networks.spiking()))


def _compiled_simulation(networks: Networks) -> Form:
    simulation = ss.unroll(ss.trace(networks.spiking()))
    return _without_gradients(torch.compile(simulation.__call__))


def _integer_valued(networks: Networks) -> Form:
    return _without_gradients(networks.spiking())


def _ann(networks: Networks) -> Form:
    return _without_gradients(networks.twin())


def _compiled_ann(networks: Networks) -> Form:
    return _without_gradients(torch.compile(networks.twin()))


def _onnxruntime_ann(networks: Networks) -> Form:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twin.onnx"
        example = _images(networks.options).contiguous()
        torch.onnx.export(networks.twin(), (example,), path, dynamo=True, verbose=False)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = networks.options.threads
        networks.file_sizes["ann_fp32_onnxruntime"] = _bytes_in(Path(folder))
        session = onnxruntime.InferenceSession(str(path), session_options)
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x.contiguous().numpy()})


def _openvino_model(networks: Networks) -> Any:
    return convert_ann(networks.twin(), _images(networks.options))


def _openvino(networks: Networks, name: str, model: Any, precision: Literal["f32", "bf16"]) -> Form:
    networks.file_sizes[name] = _openvino_size(model)
    return compile_ann(model, networks.options.threads, precision)


def _openvino_fp32(networks: Networks) -> Form:
    return _openvino(networks, "ann_fp32_openvino", _openvino_model(networks), "f32")


def _openvino_bf16(networks: Networks) -> Form:
    return _openvino(networks, "ann_bf16_openvino", _openvino_model(networks), "bf16")


def _openvino_int8(networks: Networks) -> Form:
    model = quantize_ann(_openvino_model(networks), [_images(networks.options)])
    return _openvino(networks, "ann_int8_openvino", model, "f32")


def _ours(networks: Networks) -> Form:
    net = networks.deployed
    x = _images(networks.options)
    result = net.verify(x, against=("openvino",))
    model = to_openvino(net.graph, networks.size)
    networks.file_sizes["ours"] = _openvino_size(model)
    runtime = OpenVinoRuntime(model, networks.options.threads, tuple(x.shape))
    silent = result.silent and not networks.options.activity
    if not result.equal or silent or not torch.equal(runtime(x), net(x)):
        sys.exit(f"the exported network is not the integer network:\n{result.table()}")
    print(f"ours ({runtime.form}) == integers: {result.mismatches} mismatches", flush=True)
    return runtime


def _native(networks: Networks) -> Form:
    net = networks.deployed
    x = _images(networks.options)
    result = net.verify(x, against=("native",))
    if not result.equal or (result.silent and not networks.options.activity):
        sys.exit(f"libspk does not run the integer network:\n{result.table()}")
    runtime = NativeRuntime(net.graph, networks.options.threads)
    print(f"native ({runtime.form}) == integers: {result.mismatches} mismatches", flush=True)
    return runtime


FORMS: dict[str, Callable[[Networks], Form]] = {
    "spike_simulation_eager": _simulation,
    "spike_simulation_compiled": _compiled_simulation,
    "integer_valued_eager": _integer_valued,
    "ann_fp32_eager": _ann,
    "ann_fp32_compiled": _compiled_ann,
    "ann_fp32_onnxruntime": _onnxruntime_ann,
    "ann_fp32_openvino": _openvino_fp32,
    "ann_bf16_openvino": _openvino_bf16,
    "ann_int8_openvino": _openvino_int8,
    "ours": _ours,
    "native": _native,
}


def _multiply_accumulates(networks: Networks) -> int:
    """Of the integer network, per image."""
    graph = networks.deployed.graph
    reaches = prove_ranges(graph)
    return sum(
        node.weight.numel() * reaches[node.name].shape.pixels
        for node in graph.nodes
        if isinstance(node, integer.Synapse)
    )


def _other_file_sizes(networks: Networks) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks.spiking().save_pretrained(folder / "float")
        networks.deployed.save(folder / "net.spk")
        return {
            "trained, fp32": (folder / "float" / "model.safetensors").stat().st_size,
            "ours, .spk": (folder / "net.spk").stat().st_size,
        }


def _openvino_size(model: Any) -> int:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder) / "net.xml", compress_to_fp16=False)
        return _bytes_in(Path(folder))


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _memories(options: argparse.Namespace) -> dict[str, list[float]]:
    words = [sys.executable, __file__, f"--model={options.model}", f"--size={options.size}"]
    words += [f"--batch={options.batch}", f"--threads={options.threads}"]
    words += [f"--rep-conv={options.rep_conv}", f"--bits={options.bits}"]
    printed = {
        name: subprocess.run(
            [*words, f"--only={name}"], check=True, capture_output=True, text=True
        ).stdout.split()[-2:]
        for name in FORMS
    }
    return {name: [float(word) for word in words] for name, words in printed.items()}


def _report_memory(options: argparse.Namespace) -> None:
    """Memory of this process in MB: the peak while the built form runs, and what stays."""
    form, x = FORMS[options.only](Networks(options)), _images(options)
    form(x)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    form(x)
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    memory = {words[0]: int(words[1]) / 1024 for words in lines if words[0] in _MEMORY}
    print(*(memory[name] for name in _MEMORY))


if __name__ == "__main__":
    main()
