"""What is kept for the backward pass in the place of a tensor, and gives it back bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.memory.counts import PackedCounts, pack, unpack

_NARROWER = (torch.uint8, torch.int16, torch.int32)


class Kept(ABC):
    """A storage whose content can be had again.

    Attributes:
        awaited: How many saved tensors have not been asked for since.
    """

    awaited = 0
    _ready: Tensor | None = None

    @abstractmethod
    def _restore(self) -> Tensor:
        """The whole storage, in any shape."""

    def take(self) -> Tensor:
        """The storage for one who saved it."""
        self.awaited -= 1
        ready, self._ready = self._ready, None
        return self._restore() if ready is None else ready

    def look(self) -> Tensor:
        """The storage for another computation; who saved it will need it next."""
        ready = self._restore() if self._ready is None else self._ready
        if self.awaited > 0:
            self._ready = ready
        return ready


@dataclass(eq=False)
class KeptTensor(Kept):
    """The storage itself; unpacking refuses one that was changed since.

    Args:
        tensor: A tensor of it, without gradient.
    """

    tensor: Tensor

    def __post_init__(self) -> None:
        self._version = self.tensor._version

    def _restore(self) -> Tensor:
        if self.tensor._version != self._version:
            raise RuntimeError(
                "a tensor of shape "
                f"{tuple(self.tensor.shape)} that the backward pass needs was modified in place"
            )
        return self.tensor


@dataclass(eq=False)
class KeptCounts(Kept):
    """The counts of a storage of spikes."""

    packed: PackedCounts

    def _restore(self) -> Tensor:
        return unpack(self.packed)


@dataclass(eq=False)
class KeptIndices(Kept):
    """Whole numbers of 64 bits, in fewer."""

    narrow: Tensor

    def _restore(self) -> Tensor:
        return self.narrow.long()


@dataclass(eq=False)
class KeptOutput(Kept):
    """A storage that is computed again."""

    function: Callable[[], Tensor]

    def _restore(self) -> Tensor:
        with torch.no_grad():
            return self.function()


@dataclass(frozen=True)
class View:
    """A tensor within a kept storage."""

    kept: Kept
    size: torch.Size
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: Tensor, kept: Kept) -> View:
        """The place of a tensor in its storage."""
        return cls(kept, tensor.size(), tensor.stride(), int(tensor.storage_offset()))

    def place(self, storage: Tensor) -> Tensor:
        """The tensor, given its storage."""
        return storage.as_strided(self.size, self.stride, self.offset)


def whole(tensor: Tensor) -> Tensor | None:
    """All of a tensor's storage, flat; None where it holds more than whole elements."""
    storage = tensor.untyped_storage()
    length, rest = divmod(storage.nbytes(), tensor.element_size())
    return None if rest else tensor.as_strided((length,), (1,), 0)


def smaller(tensor: Tensor, units: tuple[float, ...]) -> Kept | None:
    """A tensor's storage in fewer bits, if that is possible.

    Args:
        tensor: The tensor.
        units: What a count may stand for.
    """
    if not (tensor.is_floating_point() or tensor.dtype == torch.int64):
        return None
    flat = whole(tensor)
    if flat is None:
        return None
    if tensor.dtype == torch.int64:
        return _narrow(flat)
    for unit in units:
        packed = pack(flat, unit)
        if packed is not None:
            return KeptCounts(packed)
    return None


def _narrow(flat: Tensor) -> KeptIndices | None:
    least, most = (int(bound) for bound in flat.aminmax())
    for dtype in _NARROWER:
        bounds = torch.iinfo(dtype)
        if bounds.min <= least and most <= bounds.max:
            return KeptIndices(flat.to(dtype))
    return None
