"""Data sets that users add from files of their own, beside the formats that come along."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar

from spikesight.data.errors import DataError
from spikesight.parts import find_part, list_parts, remember

if TYPE_CHECKING:
    from spikesight.data.config import DataConfig
    from spikesight.data.detection.annotated_images import ObjectSource
    from spikesight.data.detection.config import ObjectConfig
    from spikesight.data.segmentation.config import SceneConfig
    from spikesight.data.segmentation.scene import SceneSource
    from spikesight.data.sources import Parts

ReaderT = TypeVar("ReaderT", bound="Callable[[DataConfig], Parts]")
SceneReaderT = TypeVar("SceneReaderT", bound="Callable[[SceneConfig, str], SceneSource]")
ObjectReaderT = TypeVar("ObjectReaderT", bound="Callable[[ObjectConfig, str], ObjectSource]")

DATA_SET, SCENES, OBJECTS = "data set", "scenes", "objects"
_DOORS = {
    DATA_SET: ("data.format", "register_dataset"),
    SCENES: ("scenes.format", "register_scenes"),
    OBJECTS: ("objects.format", "register_objects"),
}


def register_dataset(reader: ReaderT) -> ReaderT:
    """Makes a function's name a `data.format`, for everything that reads labelled photos.

    Args:
        reader: Takes the `DataConfig`; returns for each part that there is ("train", "validation"
            and "test"; one suffices) a function that gives its `ArraySource` or `EncodedSource`.

    Returns:
        The function itself.
    """
    remember(DATA_SET, reader.__name__, reader)
    return reader


def register_scenes(reader: SceneReaderT) -> SceneReaderT:
    """Makes a function's name a `scenes.format`, for everything that reads photos with masks.

    Args:
        reader: Takes the `SceneConfig` and a part ("train", "val" or "test"); returns a
            `SceneSource`.

    Returns:
        The function itself.
    """
    remember(SCENES, reader.__name__, reader)
    return reader


def register_objects(reader: ObjectReaderT) -> ObjectReaderT:
    """Makes a function's name an `objects.format`, for everything that reads images with objects.

    Args:
        reader: Takes the `ObjectConfig` and a part ("train", "val" or "test"); returns an
            `ObjectSource`.

    Returns:
        The function itself.
    """
    remember(OBJECTS, reader.__name__, reader)
    return reader


def check_format(kind: str, value: str, shipped: Collection[str]) -> None:
    """Refuses a format that nothing reads.

    Raises:
        DataError: If it is none of them and not registered.
    """
    if value not in shipped and find_part(kind, value) is None:
        name, door = _DOORS[kind]
        raise DataError(
            f"{name} is {value!r}; pass one of {', '.join([*shipped, *list_parts(kind)])}, or "
            f"--import the file that registers it with ss.{door}"
        )
