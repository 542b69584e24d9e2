"""The command line: makes a parser of a command's function and runs it."""

from __future__ import annotations

import importlib
import inspect
import io
import re
import sys
import traceback
import typing
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

from spikesight.commands.table import COMMANDS
from spikesight.errors import ResultError, UserError, lack_of_memory
from spikesight.parts import import_installed, import_part, place_in_own_part

_BOOLEANS = ("true", "false", "yes", "no")
_LONGEST_ERROR = 800
_IMPORT = (
    "--import=FILE.py, before or behind any command, lets it know the models, neurons, tasks and\n"
    "data sets of a file or module of your own."
)
# Where bytes that are no UTF-8 stay while words are parsed: at the end of the private use area.
_CARRIER = 0x10FF00 - 0xDC00
_FIRST_CARRIED = "\U0010ff80"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: Words after `spikesight`; those of this process if omitted.

    Returns:
        The exit code: 0, 1 after a failed run, 2 after a mistake in what was asked, 128 + n after
        signal n.
    """
    _print_any_name()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    words, sources = _take_imports(words)
    if not words or words[0] in ("-h", "--help"):
        _print_overview()
        return 0
    if words[0] == "--version":
        print(importlib.import_module("spikesight").__version__)
        print(f"neurons on this CPU: {importlib.import_module('spikesight.native.library').form()}")
        return 0
    if words[0] not in COMMANDS:
        return _fail(f"there is no command {words[0]!r}; pass one of {', '.join(COMMANDS)}", 2)
    try:
        for source in sources:
            import_part(source)
        import_installed()
        read_command(words)()
    except KeyboardInterrupt as stop:
        return 128 + int(getattr(stop, "signal_number", 2))
    except SystemExit as stop:
        return int(stop.code or 0)
    except (UserError, OSError) as error:
        if debug:
            raise
        return _fail(str(error), 1 if isinstance(error, ResultError) else 2)
    except Exception as error:
        lack = lack_of_memory(error)
        if lack is None:
            _ask_for_report(error, words[0])
        elif not debug:
            return _fail(lack, 1)
        raise
    finally:
        _leave_processes()
    return 0


def _take_imports(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without --import, and the files and modules that it names."""
    left, sources = [], []
    pending = iter(words)
    for word in pending:
        if word.startswith("--import="):
            sources.append(word.removeprefix("--import="))
        elif word == "--import":
            sources.append(next(pending, ""))
        else:
            left.append(word)
    return left, sources


def read_command(words: Sequence[str]) -> Callable[[], object]:
    """Reads what was asked, and runs nothing yet.

    Args:
        words: Name of a command, and its options.

    Returns:
        The command's function with its arguments.

    Raises:
        UserError: If an option is unknown, missing or out of range.
    """
    import jsonargparse

    from spikesight.files.documents import named

    name, *words = words
    command = COMMANDS[name]
    function: Callable[..., Any] = _find(command.target)
    hints = {k: v for k, v in typing.get_type_hints(function).items() if k != "return"}
    single = next(iter(hints.values())) if len(hints) == 1 else None
    configuration: Any = single if is_dataclass(single) else None
    lists = [k for k, v in hints.items() if typing.get_origin(v) is list]

    parser = jsonargparse.ArgumentParser(
        prog=f"spikesight {name}",
        epilog="\n".join(["examples:", *(f"  {example}" for example in command.examples), _IMPORT]),
        formatter_class=_help_formatter(),
        exit_on_error=False,
        allow_abbrev=False,
    )
    if configuration is not None:
        parser.description = (function.__doc__ or "").partition("\n")[0]
        parser.usage = f"spikesight {name} [PHOTOS | FILE.yaml ...] [--option=value ...]"
        says = "YAML file; base: FILE in it names one to build on. Later files and options win."
        parser.add_argument("--config", action="config", help=says)
        parser.add_class_arguments(configuration)
    else:
        parser.add_function_arguments(function, as_positional=True, skip=set(lists))
        for parameter in lists:
            kind = typing.get_args(hints[parameter])[0]
            if parameter in command.optional:
                says = f"Any number of {parameter}."
                parser.add_argument(parameter, nargs="*", type=kind, default=[], help=says)
            else:
                says = f"One or more {parameter}."
                parser.add_argument(parameter, nargs="+", type=kind, help=says)
    files = list(takewhile(lambda word: not word.startswith("-"), words)) if configuration else []
    if command.words:
        words = _find(command.words)(words, configuration)
    words = _normalise(words, command.aliases, _boolean_options(configuration or function))
    if configuration is None and words and not words[0].startswith("-") and not _required(function):
        words = [f"--{next(iter(hints))}={words[0]}", *words[1:]]
    for word in words:
        if re.search(r"\d{4301}", word):  # Python refuses to read more digits, without a name
            option = word.partition("=")[0][:80]
            raise UserError(f"{option}: holds a whole number of more than 64 bits; pass another")
    with named(*files):
        try:
            parsed = parser.parse_args([_carried(word) for word in words])
        except Exception as error:  # whatever its readers of YAML and JSON run into
            raise UserError(str(error)) from error
        try:
            parsed = parser.instantiate(_delivered(parsed))
        except Exception as error:
            if isinstance(error, UserError) or not _is_raised_by(jsonargparse, error):
                raise
            raise UserError(str(error)) from error
        values = {key: value for key, value in parsed.as_dict().items() if key != "config"}
        if configuration is not None:
            values = {next(iter(hints)): configuration(**values)}
    return partial(function, **values)


def _is_raised_by(package: ModuleType, error: Exception) -> bool:
    """Whether it was a package that refused something, and not what it called."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] == package.__name__


def _carried(word: str) -> str:
    """A word as the parser, which refuses bytes that are no UTF-8, takes it."""
    return "".join(chr(ord(c) + _CARRIER) if "\udc80" <= c <= "\udcff" else c for c in word)


def _delivered(value: Any) -> Any:
    """What was parsed, with the bytes that were carried."""
    if isinstance(value, str | Path):
        kind = type(value)
        return kind(
            "".join(chr(ord(c) - _CARRIER) if c >= _FIRST_CARRIED else c for c in str(value))
        )
    if isinstance(value, list):
        return [_delivered(item) for item in value]
    if isinstance(value, dict):
        return {key: _delivered(item) for key, item in value.items()}
    if hasattr(value, "as_dict"):  # a namespace
        for key in list(vars(value)):
            value[key] = _delivered(value[key])
    return value


def _find(target: str) -> Any:
    """What "module:name" stands for."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _required(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is inspect.Parameter.empty]


def _help_formatter() -> Any:
    import argparse

    import jsonargparse

    return type(
        "Formatter",
        (jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter),
        {},
    )


def _boolean_options(parameters_of: Any, prefix: str = "--") -> set[str]:
    """Names of the options that are true or false, nested dataclasses included."""
    names: set[str] = set()
    for name, hint in typing.get_type_hints(parameters_of).items():
        if hint is bool:
            names.add(prefix + name)
        elif is_dataclass(hint):
            names |= _boolean_options(hint, f"{prefix}{name}.")
    return names


def _normalise(
    words: Sequence[str], aliases: dict[str, tuple[str, ...]], booleans: set[str]
) -> list[str]:
    """Options with underscores, without aliases, and `--flag` as `--flag=true`."""
    normal: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            normal.append(word)
            continue
        name, equals, value = word.partition("=")
        name = "--" + name[2:].replace("-", "_")
        prefix = name[: name.find(".") + 1]
        if prefix in aliases:
            name = aliases[prefix][0] + name.removeprefix(prefix)
        if name in aliases:
            if not equals and left:
                equals, value = "=", left.pop(0)
            normal.extend(option + equals + value for option in aliases[name])
            continue
        if name in booleans and not equals and (not left or left[0].lower() not in _BOOLEANS):
            equals, value = "=", "true"
        normal.append(name + equals + value)
    return normal


def _print_overview() -> None:
    print("usage: spikesight COMMAND [options]\n")
    print("Spiking vision transformers: train, compress, prove and deploy.\n")
    width = max(map(len, COMMANDS))
    for name, command in COMMANDS.items():
        print(f"  {name:<{width}}  {command.summary}")
    print("\n`spikesight COMMAND --help` says more. --debug shows where an error arose.")
    print(_IMPORT)


def _ask_for_report(error: Exception, command: str) -> None:
    """Ends a traceback with what to do about it."""
    if (place := place_in_own_part(error)) is not None:
        error.add_note(f"This arose in your own {place}.")
        return
    version = importlib.import_module("spikesight").__version__
    error.add_note(
        f"This is a fault of spikesight {version}, in `spikesight {command}`, and none of yours: "
        "please report it among the project's issues, with the command and the lines above."
    )


def _fail(message: str, code: int) -> int:
    from rich.console import Console

    from spikesight.files.names import show

    line = show("error: " + " ".join(message.split()))
    if len(line) > _LONGEST_ERROR:
        line = line[:_LONGEST_ERROR] + " … (--debug shows all of it)"
    Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    return code


def _print_any_name() -> None:
    """Characters that the output's encoding lacks become escapes instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_processes() -> None:
    """Says goodbye to the other processes of a torchrun."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
