"""Imports point one way, from the upper floors of the house to the lower ones, in no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import spikesight

ROOT = Path(spikesight.__file__).parent
# From bottom to top; a package imports itself and those below it.
FLOORS = (
    "errors lazy_names memory_format native private_api",
    "options",
    "files label_maps processor timing",
    "parts",
    "neurons",
    "synapses memory",
    "attention",
    "objects",
    "presentation segmentation_outputs detection_outputs timm_entries",
    "registry",
    "models",
    "metrics data",
    "inference losses reports",
    "graph",
    "passes",
    "pretrained",
    "interop deployment",
    "costs checks",
    "training",
    "moved",
    "",  # spikesight itself: what users see
    "demo",
    "app",
    "commands",
    "cli",
    "__main__",
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names.split(" ")}


def read(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text(encoding="utf-8")).body


def modules() -> dict[str, Path]:
    """Every module of the package under its name without `spikesight`."""
    found = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = file
    return found


def statements(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a module, also those in functions, without those for types alone."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.orelse)
        else:
            for part in ast.iter_child_nodes(node):
                if isinstance(part, ast.stmt):
                    yield from statements([part])
                elif isinstance(part, ast.ExceptHandler | ast.match_case):
                    yield from statements(part.body)


def lazy_places(known: dict[str, Path]) -> dict[tuple[str, str], str]:
    """The modules from which packages take their public names, by package and name."""
    places = {}
    for stub in ROOT.rglob("__init__.pyi"):
        package = ".".join(stub.parent.relative_to(ROOT).parts)
        for node in read(stub):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                place = ".".join(filter(None, (package, node.module)))
                for alias in node.names:
                    inner = f"{place}.{alias.name}"
                    places[package, alias.name] = inner if inner in known else place
    return places


def import_graph() -> dict[str, set[str]]:
    """The modules that each module imports."""
    known = modules()
    places = lazy_places(known)

    def place_of(module: str, name: str) -> str:
        inner = f"{module}.{name}".removeprefix(".")
        if inner in known:
            return inner
        place = places.get((module, name), module)
        return place if place == module else place_of(place, name)

    graph: dict[str, set[str]] = {}
    for module, file in known.items():
        graph[module] = set()
        for node in statements(read(file)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
                own = [n for n in names if n.partition(".")[0] == "spikesight"]
                graph[module] |= {name.partition(".")[2] for name in own}
            elif node.module and node.module.partition(".")[0] == "spikesight":
                inside = node.module.partition(".")[2]
                graph[module] |= {place_of(inside, alias.name) for alias in node.names}
        graph[module].discard(module)
    return graph


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = import_graph()
    graph.pop("")  # its public names are resolved when used
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" imports ".join(error.args[1][::-1])) from None


def test_no_package_imports_one_of_its_own_floor_or_above() -> None:
    upward = []
    for module, imports in import_graph().items():
        package = module.partition(".")[0]
        for other in imports:
            target = other.partition(".")[0]
            if package and target != package and FLOOR[target] >= FLOOR[package]:
                upward.append(f"{module} imports {other}")
    assert not upward


def test_every_package_has_its_floor() -> None:
    assert {module.partition(".")[0] for module in modules()} == set(FLOOR)
