"""Users' own models, neurons and other parts: from where they come, and how they are found again.

Nothing here imports a file or module that the user did not name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from spikesight.errors import UserError
from spikesight.files.names import show

ENTRY_POINTS = "spikesight.parts"
"""Group of the entry points with which an installed package offers its modules of parts."""

_parts: dict[tuple[str, str], tuple[Any, Part]] = {}
_reserved: set[tuple[str, str]] = set()
_imported: list[str] = []
_installed_are_loaded = False


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a saved folder remembers of a part that is not spikesight's.

    Attributes:
        kind: "model", "neuron" or another kind of part.
        name: The registered name.
        file: Name of the file that defines it; None if it was typed into an interpreter.
        sha256: Of that file when it was imported.
        module: Name of the module if it belongs to a package.
    """

    kind: str
    name: str
    file: str | None = None
    sha256: str | None = None
    module: str | None = None


def own_name(name: str) -> str:
    """A class's or function's name in snake case; LIF is one word.

    Args:
        name: Such as SlowILIF, which becomes slow_i_lif.
    """
    words = re.sub(r"(?<=[A-Za-z0-9])(?=LIF)|(?<=LIF)(?=[A-Za-z0-9])", "_", name)
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", words)
    return re.sub("_+", "_", words).strip("_").lower()


def reserve(kind: str, names: Iterable[str]) -> None:
    """Keeps names of spikesight's parts of a kind from being taken by others."""
    _reserved.update((kind, name) for name in names)


def remember(kind: str, name: str, part: Any) -> None:
    """Makes a user's part known under a name that is not reserved; the last definition counts.

    Args:
        kind: Such as "model" or "neuron".
        name: Its name among its kind.
        part: The class, function or whatever builds it.
    """
    owner = str(getattr(part, "__module__", None) or "__main__")
    if owner.partition(".")[0] == "spikesight" or (kind, name) in _reserved:
        return
    module = sys.modules.get(owner)
    file = getattr(module, "__file__", None)
    try:
        digest = None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        file = digest = None
    package = owner if getattr(module, "__package__", None) and owner != "__main__" else None
    described = Part(kind, name, None if file is None else Path(file).name, digest, package)
    _parts[kind, name] = (part, described)


def find_part(kind: str, name: str) -> Any:
    """The user's part of that name; None if there is none, also in installed packages."""
    if (kind, name) not in _parts:
        import_installed()
    return _parts.get((kind, name), (None, None))[0]


def list_parts(kind: str) -> list[str]:
    """Names of the user's parts of a kind, those of installed packages among them, sorted."""
    import_installed()
    return sorted(name for of, name in _parts if of == kind)


def is_own(kind: str, name: str) -> bool:
    """Whether a name is that of a user's part."""
    return (kind, name) in _parts


def name_of(kind: str, part: Any) -> str | None:
    """The name that a part is registered under; None if it is not."""
    known = ((of, name) for (of, name), (own, _) in _parts.items() if own is part)
    return next((name for of, name in known if of == kind), None)


def describe_parts(wanted: Iterable[tuple[str, Any]]) -> list[dict[str, str]]:
    """What a saved folder remembers of those of the (kind, name) that are the user's own."""
    own = [_parts[key][1] for key in wanted if isinstance(key[1], str) and key in _parts]
    return [msgspec.to_builtins(part) for part in own]


def check_parts(source: Path, saved: Iterable[Part]) -> None:
    """Refuses a saved folder whose own parts are not there; warns of those that changed.

    Args:
        source: The file that names the parts.
        saved: The parts.

    Raises:
        UserError: If a part is not registered; names its file and the remedy.
    """
    for part in saved:
        made = f"{show(source)} was made with the {part.kind} {part.name!r}"
        if find_part(part.kind, part.name) is None:
            raise UserError(f"{made} of {_whence(part)}")
        now = _parts[part.kind, part.name][1]
        if now.sha256 != part.sha256:
            warnings.warn(
                f"{made} of {show(part.file or 'an interpreter')} (sha256 {_short(part)}), but "
                f"the one imported now is of {show(now.file or 'an interpreter')} (sha256 "
                f"{_short(now)}); if its outputs differ, import the file that it was made with",
                stacklevel=3,
            )


def _whence(part: Part) -> str:
    if part.file is None:
        return "an interpreter, where no file remembers it; define it again before loading"
    code = part.module or part.file
    module = part.module or Path(part.file).stem
    return (
        f"{show(part.file)} (sha256 {_short(part)}), which is not imported: pass "
        f"--import {show(code)}, or write import {show(module)} before loading"
    )


def _short(part: Part) -> str:
    return f"{part.sha256[:12]}…" if part.sha256 else "unknown"


def import_part(source: str) -> None:
    """Imports a file or module of the user's, once; its parts register themselves.

    A file becomes the module of its name, as it is for Python scripts beside it.

    Args:
        source: A file, such as nets/my_net.py, or the name of a module.

    Raises:
        UserError: If there is none, it fails, or another module has the file's name.
    """
    if not source or source.startswith("-"):
        raise UserError("--import needs a value; pass a Python file or the name of a module")
    if source not in _imported:
        is_file = source.endswith(".py") or "/" in source or "\\" in source
        beside = Path(f"{source}.py")
        try:
            if is_file or (beside.is_file() and importlib.util.find_spec(source) is None):
                _import_file(Path(source) if is_file else beside)
            else:
                importlib.import_module(source)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            frames = traceback.extract_tb(error.__traceback__)
            last = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
            place = f" ({Path(last[-1].filename).name}, line {last[-1].lineno})" if last else ""
            raise UserError(
                f"{show(source)} cannot be imported: {type(error).__name__}: {error}{show(place)}; "
                "correct it, or pass another file or module"
            ) from error
        _imported.append(source)


def imported_parts() -> list[str]:
    """The files and modules that `import_part` imported in this process, in order."""
    return list(_imported)


def import_installed() -> None:
    """Imports the parts that installed packages offer as entry points, once.

    A package that fails is warned of and left out.
    """
    global _installed_are_loaded
    if _installed_are_loaded:
        return
    _installed_are_loaded = True
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist is not None else entry.value
            warnings.warn(
                f"the parts {entry.value} of the package {package} cannot be imported "
                f"({type(error).__name__}: {error}); mend or uninstall it",
                stacklevel=2,
            )


def _import_file(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"there is no file {show(file)} to import; pass a Python file or a module")
    file, name = file.resolve(), file.stem
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is not None and Path(script).resolve() == file:
        return
    known = sys.modules.get(name)
    spec = None if "." in name else importlib.util.find_spec(name)
    taken = known is not None or spec is not None
    place = getattr(known, "__file__", None) or (spec.origin if spec else None)
    if "." in name:
        raise UserError(
            f"{show(file.name)} cannot be imported: no module's name has a dot; rename it"
        )
    if taken and (place is None or Path(place).resolve() != file):
        raise UserError(
            f"{show(file.name)} cannot be imported: {show(name)} is the name of another module "
            f"({show(place or 'a folder or a part of Python')}); rename it"
        )
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # also for processes that load data
    importlib.import_module(name)


def place_in_own_part(error: BaseException) -> str | None:
    """File and line of a user's part where an error arose; None if it arose in spikesight."""
    own = {Path(source).name for source in _imported}
    own |= {part.file for _, part in _parts.values() if part.file is not None}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.name in own:
            return f"{file.name}, line {frame.lineno}"
        if "spikesight" in file.parts:
            return None
    return None
