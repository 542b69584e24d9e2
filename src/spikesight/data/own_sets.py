"""Data sets that users add from files of their own, beside the formats that come along."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from spikesight.data.errors import DataError

if TYPE_CHECKING:
    from spikesight.data.config import DataConfig
    from spikesight.data.segmentation.config import SceneConfig
    from spikesight.data.segmentation.scene import SceneSource
    from spikesight.data.sources import Parts

ReaderT = TypeVar("ReaderT", bound=Callable[..., Any])
data_sets: dict[str, Callable[[DataConfig], Parts]] = {}
scene_sets: dict[str, Callable[[SceneConfig, str], SceneSource]] = {}


def register_dataset(reader: ReaderT) -> ReaderT:
    """Makes a function's name a `data.format`, for everything that reads labelled photos.

    Args:
        reader: Takes the `DataConfig`; returns for each part that there is ("train", "validation"
            and "test"; one suffices) a function that gives its `ArraySource` or `EncodedSource`.

    Returns:
        The function itself.
    """
    data_sets[reader.__name__] = reader
    return reader


def register_scenes(reader: ReaderT) -> ReaderT:
    """Makes a function's name a `scenes.format`, for everything that reads photos with masks.

    Args:
        reader: Takes the `SceneConfig` and a part ("train", "val" or "test"); returns a
            `SceneSource`.

    Returns:
        The function itself.
    """
    scene_sets[reader.__name__] = reader
    return reader


def check_format(name: str, value: str, shipped: Collection[str], own: Collection[str]) -> None:
    """Refuses a format that nothing reads.

    Args:
        name: "data.format" or "scenes.format".
        value: The format.
        shipped: Formats that come along.
        own: Registered ones.

    Raises:
        DataError: If it is neither.
    """
    if value not in shipped and value not in own:
        door = "register_dataset" if name == "data.format" else "register_scenes"
        raise DataError(
            f"{name} is {value!r}; pass one of {', '.join([*shipped, *own])}, or --import the file "
            f"that registers it with ss.{door}"
        )
