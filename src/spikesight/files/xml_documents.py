"""XML that others wrote: elements, attributes and text, nothing from beyond the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from spikesight.errors import FileError, UserError
from spikesight.files.limits import PHOTO_ANNOTATION_BYTES, Limit
from spikesight.files.names import show
from spikesight.files.opening import read_bytes

_DEEPEST = 40
_MOST_ELEMENTS = 200_000


class _Refused(Exception):  # noqa: N818  never leaves this module
    """What is refused."""


def read_xml(
    path: Path,
    *,
    remedy: str,
    limit: Limit = PHOTO_ANNOTATION_BYTES,
    error: type[UserError] = FileError,
) -> Element:
    """Reads an XML file.

    Document type definitions are refused, and with them every entity that would be read from
    elsewhere or grow when it is put in; so are deep nesting and more elements than any list of a
    photo's objects has.

    Args:
        path: The file.
        remedy: What helps against a damaged file, for the message.
        limit: The largest file that is read.
        error: What is raised.

    Returns:
        The outermost element.

    Raises:
        UserError: If it cannot be read or is no such XML.
    """
    content = read_bytes(path, limit, error)
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    depth = elements = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > _DEEPEST:
            raise _Refused("is nested deeper than any document needs")
        if elements > _MOST_ELEMENTS:
            raise _Refused(f"holds more than {_MOST_ELEMENTS:,} elements")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise _Refused("has a document type definition, which is not read")

    handlers: dict[str, Callable[..., None]] = {
        "StartElementHandler": start,
        "EndElementHandler": end,
        "CharacterDataHandler": builder.data,
        "StartDoctypeDeclHandler": refuse,
    }
    for name, handler in handlers.items():
        setattr(parser, name, handler)
    try:
        parser.Parse(content, True)
        return builder.close()
    except _Refused as reason:
        raise error(f"{show(path)}: {reason}; {remedy}") from reason
    except (expat.ExpatError, ValueError, LookupError) as reason:
        raise error(f"{show(path)}: is no XML ({show(str(reason))}); {remedy}") from reason
