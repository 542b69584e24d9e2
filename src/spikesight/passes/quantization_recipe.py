"""Which weights of a model are quantised."""

from typing import Literal

QuantizationRecipe = Literal["deployable", "official"]
