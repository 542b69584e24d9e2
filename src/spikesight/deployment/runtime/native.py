"""Runs an integer network with libspk, the engine in C++ (docs/libspk.md)."""

from __future__ import annotations

import ctypes
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikesight.deployment.runtime import arithmetic
from spikesight.deployment.runtime.integers import Counts, IntegerExecutor
from spikesight.deployment.spk.file import encode_spk
from spikesight.errors import MissingPackageError, UserError
from spikesight.graph import integer_vocabulary as integer
from spikesight.native import spk
from spikesight.processor import processor_name

_MOST_SESSIONS = 4
_MOST_NOISE = 2


class NativeRuntime:
    """Runs a network on the CPU with libspk.

    Before it answers inputs of a new shape, it computes noise of that shape, and every count and
    logit is compared with the integers in PyTorch. Kernels that differ are replaced by slower
    ones, with a warning.

    Args:
        graph: The network.
        threads: Threads of one call; those of PyTorch if omitted.
        kernels: An instruction set, or "reference"; the fastest one that is here if omitted.
        form: The form of every synapse that has it, such as "dense" or "sparse"; the fastest of
            each layer and call if omitted.
        prove: Whether it computes the noise first; otherwise it answers as it is.

    Attributes:
        form: The kernels that run now.
        fell_back: Whether these are others than at first.

    Raises:
        MissingPackageError: If the library was not built.
        UserError: If there are no such kernels or no such form.
    """

    RUNTIME = "libspk"

    def __init__(
        self,
        graph: integer.Graph,
        threads: int | None = None,
        *,
        kernels: str | None = None,
        form: str | None = None,
        prove: bool = True,
    ) -> None:
        library = spk.library()
        if library is None:
            raise MissingPackageError(f"{spk.missing()}; or run the network in PyTorch")
        known = spk.kernels()
        if kernels is not None and kernels not in known:
            raise UserError(f"there are no kernels {kernels!r} here; pass any of {known}")
        self.graph = graph
        self.fell_back = False
        self.form = kernels or known[0]
        self._fall_backs = known[known.index(self.form) + 1 :]
        self._executor = IntegerExecutor(graph) if prove else None
        self._threads = threads or torch.get_num_threads()
        self._form_of_synapses = form
        self._network = _Handle(library.spk_close)
        data = encode_spk(graph)
        _check(library.spk_read(data, len(data), ctypes.byref(self._network.value)))
        self._library = library
        self._sessions: OrderedDict[tuple[int, ...], _Session] = OrderedDict()
        # A session serves one call at a time.
        self._lock = threading.Lock()

    def __call__(self, x: Tensor) -> Tensor:
        """Integer logits [B, K], int32, those of several outputs in one row.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].
        """
        return arithmetic.joined(self.outputs(x))

    def outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Integer logits of each output, int32, of normalised images or frames."""
        with self._lock:
            return self._session(x).run(x)

    def observe(self, x: Tensor) -> tuple[Counts, Tensor]:
        """Runs the network.

        Args:
            x: Normalised images [B, C, H, W] or frames [B, T, C, H, W].

        Returns:
            The counts of every neuron, time-major [T*B, ...], by name; and the integer logits
            [B, K], int32, those of several outputs in one row.
        """
        with self._lock:
            return self._session(x).observe(x)

    def _session(self, x: Tensor) -> _Session:
        shape = tuple(x.shape)
        if shape not in self._sessions:
            session = self._prepare(shape)
            if self._executor is not None:
                session = self._proved(session, self._executor)
            while len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            self._sessions[shape] = session
        self._sessions.move_to_end(shape)
        return self._sessions[shape]

    def _proved(self, session: _Session, executor: IntegerExecutor) -> _Session:
        """The session, or one of other kernels, that computes what the integers say."""
        batch, *shape = session.shape
        x = _noise(self.graph.input, (min(batch, _MOST_NOISE), *shape))
        chosen = torch.arange(batch) % len(x)
        expected, expected_logits = executor.observe(x)
        while True:
            counts, logits = session.observe(x[chosen])
            differing = [
                name
                for name, own in expected.items()
                if not torch.equal(counts[name].to(own), _repeated(own, len(x), chosen))
            ]
            if not differing and torch.equal(logits, expected_logits[chosen]):
                return session
            self._fall_back(differing[0] if differing else self.graph.output.name)
            session = self._prepare(session.shape)

    def _prepare(self, shape: tuple[int, ...]) -> _Session:
        options = spk.Options(
            batch=shape[0],
            height=shape[-2],
            width=shape[-1],
            frames=len(shape) == 5,
            threads=self._threads,
            kernels=self.form.encode(),
            form=None if self._form_of_synapses is None else self._form_of_synapses.encode(),
        )
        handle = _Handle(self._library.spk_release)
        _check(
            self._library.spk_prepare(
                self._network.value, ctypes.byref(options), ctypes.byref(handle.value)
            )
        )
        return _Session(self._library, handle, self.graph, shape)

    def _fall_back(self, name: str) -> None:
        fault = (
            f"libspk's {self.form} kernels compute other integers than the network defines, first "
            f"in {name} ({processor_name()}, threads={self._threads})"
        )
        if not self._fall_backs:
            raise UserError(f"{fault}; run the network in PyTorch")
        self.form = self._fall_backs.pop(0)
        self.fell_back = True
        self._sessions.clear()
        warnings.warn(f"{fault}; its {self.form} kernels run instead, slower", stacklevel=6)


@dataclass
class _Handle:
    """An address that the library gave and takes back."""

    release: Any
    value: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)

    def __del__(self) -> None:
        self.release(self.value)


class _Session:
    """A network prepared for inputs of one shape."""

    def __init__(
        self,
        library: ctypes.CDLL,
        handle: _Handle,
        graph: integer.Graph,
        shape: tuple[int, ...],
    ) -> None:
        self.shape = shape
        self._library = library
        self._handle = handle
        self._steps = graph.input.steps
        outputs = [
            self._ask(library.spk_output_of, spk.Output(), i) for i in range(len(graph.outputs))
        ]
        self._shapes = [tuple(output.shape[: output.rank]) for output in outputs]
        self._neurons = [
            self._ask(library.spk_neuron_of, spk.Neuron(), i) for i in range(len(graph.neurons))
        ]

    def run(self, x: Tensor) -> tuple[Tensor, ...]:
        # By NumPy: PyTorch's threads would go on spinning, on the cores that libspk wants.
        image = np.ascontiguousarray(x.detach().to("cpu", torch.float32).numpy())
        outputs = tuple(torch.empty(shape, dtype=torch.int32) for shape in self._shapes)
        addresses = (ctypes.c_void_p * len(outputs))(*(output.data_ptr() for output in outputs))
        _check(self._library.spk_run(self._handle.value, image.ctypes.data, addresses))
        return outputs

    def observe(self, x: Tensor) -> tuple[Counts, Tensor]:
        counts: Counts = {}
        shapes = [tuple(neuron.shape[: neuron.rank]) for neuron in self._neurons]
        for neuron, (batch, *shape) in zip(self._neurons, shapes, strict=True):
            name = neuron.name.decode()
            counts[name] = torch.empty((self._steps * batch, *shape), dtype=torch.uint8)
        places = list(counts.values())

        def record(_: object, neuron: int, step: int, address: int, size: int) -> None:
            ctypes.memmove(places[neuron].data_ptr() + step * size, address, size)

        observer = spk.OBSERVER(record)
        _check(self._library.spk_observe(self._handle.value, observer, None))
        try:
            logits = arithmetic.joined(self.run(x))
        finally:
            _check(self._library.spk_observe(self._handle.value, spk.OBSERVER(), None))
        return counts, logits

    def _ask(self, ask: Any, answer: Any, index: int) -> Any:
        _check(ask(self._handle.value, index, ctypes.byref(answer)))
        return answer


def _repeated(counts: Tensor, samples: int, chosen: Tensor) -> Tensor:
    """Counts [T*N, ...] of N samples, for the samples of a batch."""
    by_step: Tensor = counts.unflatten(0, (-1, samples))
    return by_step[:, chosen].flatten(0, 1)


def _noise(image: integer.Input, shape: Sequence[int]) -> Tensor:
    """Inputs over the image's whole range, in halves of its unit, so that ties are among them."""
    generator = torch.Generator().manual_seed(0)
    halves = torch.randint(2 * image.low - 2, 2 * image.high + 3, tuple(shape), generator=generator)
    return halves.to(torch.float32) * 2.0 ** -(image.shift + 1)


def _check(status: int) -> None:
    if status == 0:
        return
    library = spk.library()
    assert library is not None
    said = library.spk_last_error().decode(errors="replace")
    if status == spk.NO_MEMORY:
        raise MemoryError(said)
    if status == spk.INTERNAL:
        raise RuntimeError(f"libspk failed: {said}")
    raise UserError(said)
