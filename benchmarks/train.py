"""A training step of ours against SpikingJelly's and the authors' style, side by side in one run.

    python benchmarks/train.py
    python benchmarks/train.py --rows spikformer_4_256 --rounds 11 --json
    python benchmarks/train.py --threads 1          processor time of one thread
    python benchmarks/train.py --compiled           also torch.compile of whole models
    python benchmarks/train.py --precision bf16     bfloat16 even where it is emulated

A step is zero_grad, forward pass, cross entropy, backward pass and fused AdamW; autocast of
bfloat16 is a row of its own where the processor has units for it. All forms of a row have the same
weights. Before the clock runs, their logits in evaluation mode and the gradient of their first
convolution are compared in float64, where a difference ends the run; then every form makes a step
in the precision of the row, whose losses are compared.

ours                   as its trainer does: channels_last unless a recipe says otherwise,
                       `fused_kernels`, and freed memory kept (training/freed_memory.py)
ours_low_memory        the same with `memory: low`
spikingjelly_eager     SpikingJelly 2.0.0's own Spikformer as it comes
spikingjelly_inductor  the same, each neuron compiled by torch.compile
authors_style          our graph in contiguous memory with the neurons of authors_style.py: loops
                       over time and surrogate autograd.Functions, as the papers' code has them

SpikingJelly has no Meta-SpikeFormer and no Spikformer V2: those rows have no form of it.

Each form has a process of its own, since how the C library treats freed memory holds for a whole
process; they take turns, one step a turn, round by round. A time is the median of the rounds, a
ratio the median over the rounds of ours / other in the same round: below 1, ours is faster. With
one thread the clock is the processor time of the process, which neighbours disturb least.

Memory is that of a step: after the first one, which compiles what is to be compiled, gradients and
optimiser are dropped and free memory is returned to the system; then the peak resident set of a
second step, gradients and fresh optimiser state among it, over the resident set before it. With
--huge-pages all forms run in the environment that benchmarks/memory.py describes.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import torch
from torch import Tensor, nn

import jelly
import spikesight as ss
from authors_style import in_authors_style
from memory import HUGE_PAGES
from spikesight.memory import PeakMemory
from spikesight.native.library import form as form_of_neurons
from spikesight.neurons.recording import NeuronRecorder
from spikesight.processor import processor_name
from spikesight.training.freed_memory import keep_freed_memory, return_freed_memory
from spikesight.training.precision import computes_bf16
from training_rows import ROWS, Row

# Normalisations with which neurons of deep layers fire too: a silent branch compares nothing.
GAIN_OF_LIF = 2.0  # whose input decays
SPREAD = 0.5
LARGEST_DIFFERENCE = 1e-9
# Rounding flips spikes, and an untrained network carries every flip on.
LARGEST_LOSS_DIFFERENCE = 0.1


class Form:
    """A model with its optimiser, trained on one batch.

    Args:
        model: The model.
        logits: Calls it.
        row: Its inputs.
        precision: "fp32" or "bf16".
        channels_last: Its memory format.
    """

    def __init__(
        self,
        model: nn.Module,
        logits: Callable[[Tensor], Tensor],
        row: Row,
        precision: str,
        channels_last: bool = False,
    ) -> None:
        self.model = model.train()
        self.logits = logits
        self.x, self.classes = row.batch_of(row.batch)
        self.lower = precision == "bf16"
        if channels_last:
            model.to(memory_format=torch.channels_last)
            if self.x.ndim == 4:
                self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.forget()

    def forget(self) -> None:
        """Drops the gradients and what the optimiser keeps."""
        self.model.zero_grad()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)

    def step(self) -> float:
        """A training step; its loss."""
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.lower):
            loss = nn.functional.cross_entropy(self.logits(self.x), self.classes)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Models:
    """The models of a row, with one set of weights."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.jelly: nn.Module | None = None
        torch.manual_seed(0)
        if row.jelly is not None and jelly.is_installed():
            self.jelly = jelly.spikformer(**row.jelly)
            _settle(self.jelly, jelly.logits_of(self.jelly), row)
        self.ours = row.build()
        if self.jelly is None:
            _settle(self.ours, self.ours, row)
        else:
            state = self.jelly.state_dict()
            loaded = ss.load_official("spikformer", state, strides=row.strides)
            self.ours.load_state_dict(loaded.state_dict())

    def logits_of(self, form: str, model: nn.Module, *, whole: bool = False) -> Any:
        """What calls a model of a form, whole models compiled on demand."""
        call = torch.compile(model) if whole else model
        if form.startswith("spikingjelly"):
            return jelly.logits_of(model, call)
        return _in_low_memory(model) if form == "ours_low_memory" else call

    def plain(self, form: str) -> nn.Module:
        """A copy of a form's model, nothing compiled."""
        if form == "authors_style":
            return in_authors_style(self.ours)
        if form.startswith("ours"):
            return copy.deepcopy(self.ours)
        assert self.jelly is not None
        return copy.deepcopy(self.jelly)

    def form(self, name: str, precision: str) -> Form:
        """A form by name."""
        model = self.plain(name)
        if name == "spikingjelly_inductor":
            jelly.compile_neurons(model)
        logits = self.logits_of(name, model, whole=name.endswith("_compiled"))
        if name in ("ours", "ours_low_memory"):
            ss.fused_kernels(model).__enter__()
        last = self.row.channels_last and name.startswith("ours")
        return Form(model, logits, self.row, precision, last)

    def check(self, forms: list[str]) -> None:
        """Ends the run unless forms compute the same in float64."""
        x, classes = self.row.batch_of(2)
        fired: dict[str, bool] = {}
        with NeuronRecorder(self.ours, lambda name, _, out: fired.update({name: bool(out.any())})):
            self.ours.eval()(x)
        silent = [name for name, any_spike in fired.items() if not any_spike]
        print(f"  {len(fired)} neurons, silent: {' '.join(silent) or 'none'}")
        expected: list[Tensor] | None = None
        for form in forms:
            if form.endswith(("_compiled", "_inductor")):
                continue
            model = self.plain(form).double().eval()
            logits = self.logits_of(form, model)(x.double())
            nn.functional.cross_entropy(logits, classes).backward()
            gradient = next(p.grad for p in model.parameters() if p.ndim == 4)
            assert gradient is not None
            found = [logits.detach(), gradient]
            if expected is None:
                expected = found
                continue
            for what, ours, theirs in zip(("logits", "gradient"), expected, found, strict=True):
                difference = float((ours - theirs).abs().max() / ours.abs().max())
                print(f"  {form:<22} {what} in float64 differ by {difference:.1e}, relatively")
                if not difference <= LARGEST_DIFFERENCE:
                    sys.exit(f"{self.row.name}: {form} computes something else")


def _in_low_memory(model: nn.Module) -> Callable[[Tensor], Tensor]:
    saving = ss.low_memory(model)

    def logits(x: Tensor) -> Tensor:
        with saving:
            result: Tensor = model(x)
        return result

    return logits


def _settle(model: nn.Module, logits: Callable[[Tensor], Tensor], row: Row) -> None:
    """Gives normalisations the statistics of a batch, and neurons currents that fire them."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None
            if row.jelly is not None:
                norm.weight.fill_(GAIN_OF_LIF)
            norm.bias.normal_(0, SPREAD, generator=generator)
        logits(row.batch_of(min(row.batch, 8))[0])
    for norm in norms:
        norm.momentum = 0.1


def forms_of(row: Row, options: argparse.Namespace) -> list[str]:
    """Names of the forms that a row has here."""
    forms = ["ours", "ours_low_memory"]
    if options.compiled:
        forms.append("ours_compiled")
    if row.jelly is not None and jelly.is_installed():
        forms += ["spikingjelly_eager", "spikingjelly_inductor"]
        if options.compiled:
            forms.append("spikingjelly_compiled")
    return [*forms, "authors_style"]


def measure(row: Row, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Times the forms of a row, prints them and returns what was printed."""
    print(f"{row.name}, {row.size} px, batch {row.batch}, {precision}", flush=True)
    models = Models(row)
    names = forms_of(row, options)
    models.check(names)
    del models
    forms: dict[str, FormProcess] = {}
    about: dict[str, dict[str, float]] = {}
    for name in names:
        forms[name] = FormProcess(row.name, name, precision, options)
        about[name] = forms[name].about()
    ours = about["ours"]
    for name, said in about.items():
        if not abs(said["first_loss"] / ours["first_loss"] - 1) <= LARGEST_LOSS_DIFFERENCE:
            sys.exit(f"{row.name}: first losses of {name} and ours differ: {said}, {ours}")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, form in forms.items():
            times[name].append(form.milliseconds())
    results: dict[str, Any] = {}
    for name, values in times.items():
        forms[name].end()
        pairs = zip(times["ours"], values, strict=True)
        result = results[name] = {
            "milliseconds": statistics.median(values),
            "ours_over_this": statistics.median(ours / other for ours, other in pairs),
            "ours_over_this_peak": ours["peak_mb"] / about[name]["peak_mb"],
            **about[name],
        }
        print(
            "  {:<22} {milliseconds:9.1f} ms, ours {ours_over_this:5.2f} x  {peak_mb:7.0f} MB peak,"
            " ours {ours_over_this_peak:5.2f} x  first loss {first_loss:.6f}".format(
                name, **result
            ),
            flush=True,
        )
    return {"row": row.name, "precision": precision, "forms": results}


class FormProcess:
    """A form in a process of its own, which makes a step when it is asked to."""

    def __init__(self, row: str, form: str, precision: str, options: argparse.Namespace) -> None:
        words = [sys.executable, __file__, f"--rows={row}", f"--precision={precision}"]
        words += [f"--threads={options.threads}", f"--only={form}"]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (HUGE_PAGES if options.huge_pages else {}),
        )

    def about(self) -> dict[str, float]:
        """Its first loss and the peak memory of a step."""
        said: dict[str, float] = json.loads(self._line())
        return said

    def milliseconds(self) -> float:
        """Time of a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return float(self._line())

    def end(self) -> None:
        """Ends the process."""
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a form ended, for the reason above")
        return line


def _serve(row: Row, name: str, precision: str, threads: int) -> None:
    """Makes a step of one form for every line that comes."""
    form = Models(row).form(name, precision)
    if name.startswith("ours"):
        keep_freed_memory()  # as the trainer does
    loss = form.step()
    form.forget()
    gc.collect()
    return_freed_memory()
    peak = PeakMemory(torch.device("cpu"))
    before = peak.bytes()
    form.step()
    print(json.dumps({"first_loss": loss, "peak_mb": (peak.bytes() - before) / 1e6}), flush=True)
    clock = time.process_time if threads == 1 else time.perf_counter
    for _ in sys.stdin:
        began = clock()
        form.step()
        print(1e3 * (clock() - began), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--compiled", action="store_true", help="whole models compiled as well")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--huge-pages", action="store_true", help="as benchmarks/memory.py has it")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.only:
        _serve(ROWS[options.rows[0]](), options.only, options.precision, options.threads)
        return
    native = computes_bf16(torch.device("cpu"))
    usual = ["fp32", "bf16"] if native else ["fp32"]
    precisions = usual if options.precision == "auto" else [options.precision]
    clock = "processor time" if options.threads == 1 else "wall time"
    print(
        f"{options.threads} thread(s) of {processor_name()}, {clock}, torch {torch.__version__}, "
        f"{date.today()}, medians of {options.rounds} alternating rounds"
        f"; neurons by {form_of_neurons()}" + ("" if native else "; no units for bf16")
    )
    if not jelly.is_installed():
        print(f"without SpikingJelly, which `{jelly.INSTALL}` installs")
    rows = [
        measure(ROWS[name](), precision, options)
        for name in options.rows
        for precision in precisions
    ]
    if options.json:
        about = {
            "processor": processor_name(),
            "torch": torch.__version__,
            "date": str(date.today()),
            "neurons": form_of_neurons(),
            "threads": options.threads,
            "rounds": options.rounds,
            "clock": clock,
        }
        print(json.dumps({**about, "rows": rows}))


if __name__ == "__main__":
    main()
