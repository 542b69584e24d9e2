"""What one operation costs, as the papers count it.

In 32-bit floating point on a 45 nm chip (Horowitz 2014), in picojoules.
"""

from __future__ import annotations

MULTIPLY_ACCUMULATE_PJ = 4.6
MULTIPLY_PJ = 3.7
ACCUMULATE_PJ = 0.9

# In integers: an addition, shift or comparison of 32 bits; with a multiplication of 8 bits.
INTEGER_ADD_PJ = 0.1
INTEGER_MULTIPLY_ACCUMULATE_PJ = 0.3

SHIFTABLE_OFFSET_BITS = 2
"""Up to so many bits of an offset, shifts and additions interpolate."""

# QSD-Transformer's eq. 30 counts 2-, 3- and 4-bit operations as shares of a floating-point one, as
# the binary networks that it cites do; the shares themselves are reconstructed.
LOW_BIT_SHARE = {2: 1 / 32, 3: 1 / 16, 4: 1 / 8}
LOW_BIT_NOTE = (
    "additions of 4-, 3- and 2-bit weights at 1/8, 1/16 and 1/32 of the price (QSD-Transformer "
    "eq. 30; shares reconstructed)"
)


def low_bit_share(bits: int | None) -> float:
    """Share of an operation's energy that remains with weights of so many bits.

    Args:
        bits: Bits of a weight; None for floating point. The paper prices 2, 3 and 4; others keep
            the full price.
    """
    return 1.0 if bits is None else LOW_BIT_SHARE.get(bits, 1.0)
