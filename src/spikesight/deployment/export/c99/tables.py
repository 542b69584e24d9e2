"""Integers of a network as constant arrays of C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spikesight.deployment.export.c99.integer_types import INTEGER_TYPES, IntegerType, narrowest

_COLUMNS = 100
INT8 = IntegerType(8, signed=True)


@dataclass(frozen=True)
class Table:
    """A constant array.

    Attributes:
        name: Its name in C.
        type: Of its integers.
        values: The integers, flat.
        meaning: What a comment says of it.
    """

    name: str
    type: IntegerType
    values: npt.NDArray[np.int64]
    meaning: str

    @staticmethod
    def of(
        name: str,
        values: Tensor,
        meaning: str,
        among: tuple[IntegerType, ...] = INTEGER_TYPES,
    ) -> Table:
        """A table of the narrowest type that holds its integers.

        Args:
            name: Its name in C.
            values: The integers, in the order in which C has them.
            meaning: What a comment says of it.
            among: The types that it may have.
        """
        array = values.detach().cpu().long().flatten().numpy()
        narrow = narrowest(int(array.min()), int(array.max()), among)
        assert narrow is not None, f"{name} does not fit into 32 bits"
        return Table(name, narrow, array, meaning)

    @property
    def bytes(self) -> int:
        """Its bytes."""
        return self.type.bytes * len(self.values)

    @property
    def declaration(self) -> str:
        """What C must have read before the table is used."""
        return f"static const {self.type.c_name} {self.name}[{len(self.values)}];"

    @property
    def definition(self) -> str:
        """The table itself."""
        head = f"/* {self.meaning} */\n{self.declaration[:-1]} = {{\n"
        return head + "\n".join(_lines(self.values)) + "\n};\n"


def _lines(values: npt.NDArray[np.int64]) -> list[str]:
    """Numbers in lines of equal count, none longer than a line may be."""
    texts = [str(value) for value in values.tolist()]
    widest = max(map(len, texts))
    count = max(1, (_COLUMNS - 4) // (widest + 2))
    return [
        "    " + ", ".join(texts[start : start + count]) + ","
        for start in range(0, len(texts), count)
    ]


def dense_weights(weight: Tensor, groups: int) -> Tensor:
    """A kernel [C_out, C_in / groups, k, k] or matrix as [k * k * C_in, C_out / groups]."""
    kernel = weight[..., None, None] if weight.ndim == 2 else weight
    by_group: Tensor = kernel.unflatten(0, (groups, -1))
    return by_group.permute(3, 4, 0, 2, 1).flatten(0, 3)


def depthwise_weights(weight: Tensor) -> Tensor:
    """A kernel [C, 1, k, k] as [k * k, C]."""
    return weight.permute(2, 3, 0, 1).flatten(0, 1).flatten(1)


def in_halves(rows: Tensor) -> Tensor:
    """Rows [R, O] of integers from -8 to 7 as bytes [R, ceil(O / 2)], the first ones below."""
    if rows.shape[1] % 2:
        rows = torch.cat((rows, torch.zeros_like(rows[:, :1])), 1)
    low, high = (part.long() & 15 for part in rows.chunk(2, 1))
    return (low | high << 4).to(torch.uint8).view(torch.int8)
