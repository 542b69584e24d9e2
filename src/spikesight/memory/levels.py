"""How much is kept for the backward pass."""

from typing import Literal

Memory = Literal["normal", "low", "lowest"]
