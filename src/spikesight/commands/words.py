"""The words behind `spikesight train`: files or photos in front, and one name for a path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from spikesight.errors import UserError
from spikesight.files.documents import named
from spikesight.parts import import_part
from spikesight.training.config import find_configuration, merge, read_yaml
from spikesight.training.data_sections import DATA_SECTIONS, check_path_is_read
from spikesight.training.tasks.choice_words import run_name
from spikesight.training.tasks.table import find_task, tasks_that_say
from spikesight.training.written_values import as_written

_CONFIG = "--config"
_HELP = {"-h", "--help"}
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
Options = list[tuple[str, str | None]]


def prepare_words(words: list[str], kind: type) -> list[str]:
    """Reads the YAML files in front and lets --data.… mean whatever the task reads.

    Photos in front (a folder, tar file or shards) are looked at, and a configuration chosen.
    Anything else in front that is no file is the name of a recipe that comes along.

    Args:
        words: The command line; files first, whose fields later words override.
        kind: The dataclass of the options.

    Returns:
        Options alone; each file became one with the file's fields.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file or the photos cannot be used.
    """
    front, options = _split(words)
    photos = [file for file in front if os.path.isdir(file) or file.lower().endswith(_ARCHIVES)]
    if photos and len(front) > 1:
        shards = sum(file.endswith(".tar") for file in front) > 1
        quoted = "; a pattern of tar files stands in quotes" if shards else ""
        several = f"{' and '.join(front[:3])}{' and more' if len(front) > 3 else ''}"
        raise UserError(f"{several}: pass one folder of photos, or YAML files{quoted}")
    if any(name in _HELP for name, _ in options):
        return ["--help"]
    if photos:
        options = [*_choose(photos[0], options), *options]
    else:
        options = [*((_CONFIG, file) for file in front), *options]
    read: dict[str, Any] = {}
    ready: list[str] = []
    for name, value in options:
        if name == _CONFIG and value is not None:
            if not value.startswith("{"):
                with named(value):
                    value = json.dumps(as_written(kind, read_yaml(value)), default=str)
            try:
                read = merge(read, json.loads(value))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{name}: is no JSON ({error}); pass a YAML file") from error
            sources = read.get("imports")
            for source in sources if isinstance(sources, list) else []:
                import_part(str(source))
        elif name == "--task" and value is not None:
            read["task"] = value
        elif value is not None and value.startswith("["):
            _check_list(kind, name, value)
        ready.append(name if value is None else f"{name}={value}")
    used = find_task(read.get("task", "classification")).section
    for unused in DATA_SECTIONS.keys() - {used}:
        ready = [_renamed(word, f"--{unused}.", f"--{used}.") for word in ready]
    given = dict(word.removeprefix(f"--{used}.").split("=", 1) for word in ready if "=" in word)
    if "path" in given:
        fields = read.get(used) or {}
        check_path_is_read(used, {"path": given["path"], **fields, **given})
    return ready


def _check_list(kind: type, name: str, value: str) -> None:
    """Refuses a list whose words YAML, which options are written in, does not take as text."""
    try:
        written: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        return  # the parser names it
    except RecursionError as error:
        raise UserError(f"{name}: is nested deeper than options are; pass a list") from error
    for part in reversed(name.removeprefix("--").replace("-", "_").split(".")):
        written = {part: written}
    as_written(kind, written)


def _choose(photos: str, options: Options) -> Options:
    """Options chosen for photos; those of a run that goes on if it is resumed."""
    asked = {name.removeprefix("--").replace("-", "_"): value or "true" for name, value in options}
    if "task" in asked:
        task = find_task(asked["task"])
    else:
        task = next(task for task in tasks_that_say("reads") if task.reads(photos))
    if asked.get("resume", "false").lower() not in ("false", "no"):
        output = asked.get("output", str(Path("runs", run_name(photos))))
        before = Path(output, "config.yaml")
        if before.is_file():
            return [(_CONFIG, str(before)), (f"--{task.section}.path", photos)]
    choice = task.choose(photos, asked)
    if os.environ.get("RANK", "0") == "0":
        for line in choice.lines:
            print(line, flush=True)
    return [(_CONFIG, json.dumps(choice.fields)), (f"--{task.section}.path", photos)]


def _renamed(word: str, before: str, after: str) -> str:
    return after + word.removeprefix(before) if word.startswith(before) else word


def _split(words: list[str]) -> tuple[list[str], Options]:
    """Files in front, and names and values of the options."""
    count = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    front, left = words[:count], words[count:]
    for file in front:
        pattern = file.endswith(".tar") and set(file) & set("*?[{")
        if not os.path.exists(file) and not pattern:
            find_configuration(file)
    options: Options = []
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not equals and left and not left[0].startswith("--"):
            equals, value = "=", left.pop(0)
        options.append((name, value if equals else None))
    return front, options
