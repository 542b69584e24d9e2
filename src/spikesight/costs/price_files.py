"""Cost models by name, and own prices from a YAML file."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from spikesight.costs.cost_models import COST_MODELS, CostModel
from spikesight.errors import UserError
from spikesight.files.documents import read_yaml, shortened
from spikesight.files.names import show

_REMEDY = "pass lines such as model: memory and add: 0.2"


def find_cost_model(prices: str | Path | CostModel) -> CostModel:
    """A cost model by its name, or with own prices.

    A file names the model whose formula is used, and the prices that differ::

        model: memory
        add: 0.2            # pJ
        queue: 32768        # bytes

    Args:
        prices: A name, a YAML file, or a cost model, which is returned.

    Raises:
        UserError: If there is no such model or file, or the file has other fields.
    """
    if isinstance(prices, CostModel):
        return prices
    if str(prices) in COST_MODELS:
        return COST_MODELS[str(prices)]
    path = Path(prices)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(
            f"there are no prices {str(prices)!r}; pass one of {', '.join(COST_MODELS)}, or a YAML "
            "file of your own"
        )
    given = read_yaml(path, dict[str, Any], remedy=_REMEDY)
    name = given.pop("model", None)
    if not isinstance(name, str) or name not in COST_MODELS:
        raise UserError(
            f"{show(path)} says model: {shortened(repr(name))}; pass one of "
            f"{', '.join(COST_MODELS)}, whose formula is used"
        )
    model = COST_MODELS[name]
    return replace(model, **{key: _price(path, model, key, value) for key, value in given.items()})


def _price(path: Path, model: CostModel, key: str, value: object) -> Any:
    known = {field.name: getattr(model, field.name) for field in fields(model)}
    if key not in known:
        raise UserError(
            f"{show(path)} has a field {shortened(repr(key))}, which {model.key} does not; it has "
            f"{', '.join(known)}"
        )
    if not isinstance(known[key], tuple):
        return _number(path, key, value)
    if not isinstance(value, list):
        raise UserError(f"{show(path)}: {key} is {shortened(repr(value))}; pass a list of numbers")
    return tuple(_number(path, key, number) for number in value)


def _number(path: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise UserError(
            f"{show(path)}: {key} is {shortened(repr(value))}; pass a number of at least 0"
        )
    return float(value)
