"""C's integer types, and the narrowest that holds a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IntegerType:
    """One of <stdint.h>.

    Attributes:
        bits: Its width.
        signed: Whether it holds negative integers.
    """

    bits: int
    signed: bool

    @property
    def c_name(self) -> str:
        """As C calls it."""
        return f"{'' if self.signed else 'u'}int{self.bits}_t"

    @property
    def suffix(self) -> str:
        """What kernels for it end in."""
        return f"{'i' if self.signed else 'u'}{self.bits}"

    @property
    def bytes(self) -> int:
        """Bytes of one integer."""
        return self.bits // 8

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        size = 1 << (self.bits - self.signed)
        return (-size if self.signed else 0), size - 1


INT32 = IntegerType(32, signed=True)
INT16 = IntegerType(16, signed=True)
INTEGER_TYPES = (IntegerType(8, signed=False), IntegerType(8, signed=True), INT16, INT32)
"""Those that values and tables have, the narrowest first."""


def narrowest(
    low: int, high: int, among: tuple[IntegerType, ...] = INTEGER_TYPES
) -> IntegerType | None:
    """The first type that holds all integers from low to high; None if there is none."""
    for one in among:
        smallest, largest = one.limits
        if smallest <= low and high <= largest:
            return one
    return None
