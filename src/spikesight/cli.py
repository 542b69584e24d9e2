"""The command line: each command is one typed function, its options are the parameters."""

from __future__ import annotations

import importlib
import inspect
import io
import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from spikesight.errors import lack_of_memory

_BOOLEANS = ("true", "false", "yes", "no")
_LONGEST_ERROR = 800
# Where bytes that are no UTF-8 stay while words are parsed: at the end of the private use area.
_CARRIER = 0x10FF00 - 0xDC00
_FIRST_CARRIED = "\U0010ff80"
# What a segmenter was trained on is its data.
_SKIPPING: dict[str, tuple[str, ...]] = {"--on_corrupt": ("--data.on_corrupt",)}
_DATA: dict[str, tuple[str, ...]] = {**_SKIPPING, "--scenes.": ("--data.",)}


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        target: "module:function", imported when the command is used. The function's parameters
            become options, required ones become positional, and its docstring the help. Where
            none is required, the first one may be given without its name. A function whose only
            parameter is a dataclass has the fields as options instead, and takes YAML files.
        summary: One line for the list of commands.
        examples: Command lines for the help.
        aliases: Short names of options that take a value, and the options that each stands for. A
            name that ends with a dot stands for all that begin with it.
        words: "module:function" that makes options of a dataclass of what the user wrote.
    """

    target: str
    summary: str
    examples: Sequence[str]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    words: str = ""


COMMANDS: dict[str, Command] = {
    "demo": Command(
        "spikesight.demo_commands:demo_command",
        "Trains on handwriting, shows the spikes and what they cost.",
        ("spikesight demo", "spikesight demo --epochs=1 --output=trial"),
    ),
    "train": Command(
        "spikesight.training.commands:train_command",
        "Trains a model on photos, or as a YAML file says.",
        (
            "spikesight train photos/",
            "spikesight train configs/fashion_mnist_nano.yaml",
            "spikesight train configs/cifar10_tiny.yaml --optimizer.lr=1e-3 --output=runs/lr",
            "spikesight train configs/cifar10_tiny.yaml --resume",
            "spikesight train configs/cifar10_tiny.yaml --model.neuron=relu --output=runs/twin",
            "spikesight train configs/camvid_small.yaml --from runs/nano_in_colour",
            "spikesight train configs/cifar10_masked_nano.yaml --data.path=cifar10-train.tar",
            "spikesight train configs/cifar10_tiny.yaml --seeds=5 --output=runs/five_seeds",
            "torchrun --nproc_per_node=2 -m spikesight.cli train configs/cifar10_tiny.yaml",
        ),
        {
            "--on_corrupt": ("--data.on_corrupt", "--scenes.on_corrupt"),
            "--from": ("--model.weights",),
        },
        words="spikesight.training.command_words:prepare_words",
    ),
    "val": Command(
        "spikesight.training.commands:val_command",
        "Measures a trained model: top-1, mean IoU, panoptic quality.",
        (
            "spikesight val runs/fashion_mnist_nano/best",
            "spikesight val runs/fashion_mnist_nano/best --split=test",
            "spikesight val runs/cifar10/best --split=all --data.format=tar --data.path=test.tar",
            "spikesight val runs/camvid_small/best --view.flip=true --view.scales=[0.75,1,1.25]",
            "spikesight val runs/camvid_small/best --pictures=pictures",
        ),
        _DATA,
    ),
    "predict": Command(
        "spikesight.training.commands:predict_command",
        "Shows what a model sees: guesses, or segments over photos and videos.",
        (
            "spikesight predict runs/cifar10/best cat.jpg dog.jpg",
            "spikesight predict runs/cifar10/best photos/ --output=guesses.png",
            "spikesight predict cifar.spk photos/ --output=guesses.csv",
            "spikesight predict runs/digits_events_nano/best recording.es --output=guesses.png",
            "spikesight predict runs/camvid_small/best street.jpg drive.mp4 --output=overlays "
            "--table=segments.csv",
        ),
    ),
    "events": Command(
        "spikesight.event_commands:events_command",
        "Says what an event camera recorded; draws it as a GIF.",
        (
            "spikesight events recording.es",
            "spikesight events recording.raw --gif=recording.gif --frames=24",
        ),
    ),
    "saccades": Command(
        "spikesight.event_commands:saccades_command",
        "Turns photos into recordings by small saccades.",
        (
            "spikesight saccades digits_events",
            "spikesight saccades fashion_events --data.format=idx --data.path=fashion --size=32",
        ),
        _SKIPPING,
    ),
    "verify": Command(
        "spikesight.commands:verify_command",
        "Proves a trained model equal to its binary spikes.",
        (
            "spikesight verify runs/fashion_mnist_nano/best",
            "spikesight verify weights/cifar10_tiny --data.path=cifar10-train.tar --images=64",
            "spikesight verify fashion.spk --run=runs/fashion_mnist_nano --against=spikes,onnx",
        ),
        _DATA,
    ),
    "quantize": Command(
        "spikesight.commands:quantize_command",
        "Makes a low-bit model of a trained one, to be trained on.",
        (
            "spikesight quantize runs/fashion_mnist_nano runs/fashion4_start --bits=4",
            "spikesight train configs/fashion_mnist_nano.yaml --model.weights=runs/fashion4_start "
            "--model.bits=4 --output=runs/fashion4",
            "spikesight quantize weights/cifar10_tiny runs/cifar4_start --rep-conv=spike_driven",
            "spikesight quantize runs/camvid_small runs/camvid4_start --bits=4 --images=128",
        ),
        _DATA,
    ),
    "deploy": Command(
        "spikesight.deployment_commands:deploy_command",
        "Makes a trained model one integer network, equal to its spikes.",
        (
            "spikesight deploy runs/fashion_mnist_nano/best fashion.spk",
            "spikesight deploy runs/fashion_mnist_nano/best fashion4.spk --weight-bits=4",
            "spikesight deploy weights/cifar10_tiny cifar.spk --photos=photos",
        ),
        _DATA,
    ),
    "audit": Command(
        "spikesight.deployment_commands:audit_command",
        "Classes every operation of a deployed network: spike-driven or not.",
        (
            "spikesight audit fashion.spk --run=runs/fashion_mnist_nano",
            "spikesight audit runs/fashion_mnist_nano/best",
        ),
        _DATA,
    ),
    "export": Command(
        "spikesight.deployment_commands:export_command",
        "Writes a deployed network for ONNX, OpenVINO or NIR.",
        (
            "spikesight export fashion.spk fashion.onnx",
            "spikesight export fashion.spk fashion.xml",
            "spikesight export digits_events.spk digits_events.onnx --frames",
        ),
    ),
    "bench": Command(
        "spikesight.deployment_commands:bench_command",
        "Times a deployed network in every installed runtime.",
        ("spikesight bench fashion.spk --batch=8",),
    ),
    "energy": Command(
        "spikesight.commands:energy_command",
        "Counts synaptic operations on real images, and their energy.",
        (
            "spikesight energy runs/fashion_mnist_nano/best --html=energy.html",
            "spikesight energy fashion.spk --run=runs/fashion_mnist_nano",
        ),
        _DATA,
    ),
    "convert": Command(
        "spikesight.commands:convert_command",
        "Writes an authors' checkpoint or a trained run as a small model folder.",
        (
            "spikesight convert runs/cifar10_tiny/best weights/cifar10_tiny --half",
            "spikesight convert 15M.pth sdt_15m --family=metaspikformer --configuration.steps=4 "
            "--image_size=224 --crop_fraction=0.875 --classes=names.txt",
        ),
    ),
    "models": Command(
        "spikesight.cli:models",
        "Lists the models that can be trained.",
        ("spikesight models", "spikesight models '*15m*'", "spikesight models --sizes"),
    ),
}


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
    if not words or words[0] in ("-h", "--help"):
        _print_overview()
        return 0
    if words[0] == "--version":
        print(importlib.import_module("spikesight").__version__)
        return 0
    if words[0] not in COMMANDS:
        return _fail(f"there is no command {words[0]!r}; pass one of {', '.join(COMMANDS)}", 2)
    try:
        _run(words[0], words[1:])
    except KeyboardInterrupt as stop:
        return 128 + int(getattr(stop, "signal_number", 2))
    except SystemExit as stop:
        return int(stop.code or 0)
    except (ValueError, OSError, ImportError, ArithmeticError) as error:
        if debug:
            raise
        return _fail(str(error), 1 if isinstance(error, ArithmeticError) else 2)
    except (MemoryError, RuntimeError) as error:
        lack = lack_of_memory(error)
        if debug or lack is None:
            raise
        return _fail(lack, 1)
    finally:
        _leave_processes()
    return 0


def models(pattern: str = "*", sizes: bool = False, bits: int = 4) -> None:
    """Lists the models that can be trained.

    Args:
        pattern: Shell pattern that the names must match.
        sizes: Also show the size that QSD-Transformer's paper calls parameters (those without the
            head, times bits / 32), the bytes of a saved float32 folder, and those of one that is
            quantised and packed. RepConv is packed as it is deployed, as one folded kernel.
        bits: Bits of a weight for these sizes.
    """
    import torch
    from rich.table import Column, Table
    from rich.text import Text

    import spikesight
    from spikesight.files.printing import print_table
    from spikesight.passes.quantization import packed_bytes

    names = spikesight.list_models(pattern)
    if not names:
        raise ValueError(f"no model matches {pattern!r}; pass '*' to see all")
    extra: tuple[str, ...] = ()
    if sizes:
        extra = (f"equivalent at {bits} bits", "bytes float32", f"bytes packed, {bits} bits")
    about = () if sizes else ("input", "neuron")
    table = Table(Column("model", no_wrap=True), "parameters", *extra, *about)
    for name in names:
        with torch.device("meta"):
            model = spikesight.create_model(name)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        arguments = model.recipe["arguments"]
        trunk = parameters - sum(p.numel() for p in model.stages()[-1].parameters())
        stored = sum(t.numel() * t.element_size() for t in model.state_dict().values())
        shown: tuple[str, ...] = ()
        if sizes:
            packed = packed_bytes(model, bits)
            shown = (f"{trunk * bits / 32 / 1e6:.1f} M", f"{stored:,}", f"{packed:,}")
        described: tuple[str, ...] = ()
        if not sizes:
            input_ = f"any number of channels, sides divisible by {model.stride}"
            described = (input_, str(arguments["neuron"] or "i_lif"))
        table.add_row(Text(name), f"{parameters / 1e6:.2f} M", *shown, *described)
    print_table(table)


def _run(name: str, words: list[str]) -> None:
    import jsonargparse

    from spikesight.errors import UserError
    from spikesight.files.documents import named

    command = COMMANDS[name]
    function: Callable[..., Any] = _find(command.target)
    hints = {k: v for k, v in typing.get_type_hints(function).items() if k != "return"}
    single = next(iter(hints.values())) if len(hints) == 1 else None
    configuration: Any = single if is_dataclass(single) else None
    lists = [k for k, v in hints.items() if typing.get_origin(v) is list]

    parser = jsonargparse.ArgumentParser(
        prog=f"spikesight {name}",
        epilog="examples:\n" + "\n".join(f"  {example}" for example in command.examples),
        formatter_class=_help_formatter(),
        exit_on_error=False,
        allow_abbrev=False,
    )
    if configuration is not None:
        parser.description = (function.__doc__ or "").partition("\n")[0]
        parser.usage = f"spikesight {name} [PHOTOS | FILE.yaml ...] [--option=value ...]"
        parser.add_argument("--config", action="config", help="YAML file; later options win.")
        parser.add_class_arguments(configuration)
    else:
        parser.add_function_arguments(function, as_positional=True, skip=set(lists))
        for parameter in lists:
            kind = typing.get_args(hints[parameter])[0]
            parser.add_argument(parameter, nargs="+", type=kind, help=f"One or more {parameter}.")
    files = list(takewhile(lambda word: not word.startswith("-"), words)) if configuration else []
    if command.words:
        words = _find(command.words)(words, configuration)
    words = _normalise(words, command.aliases, _boolean_options(configuration or function))
    if configuration is None and words and not words[0].startswith("-") and not _required(function):
        words = [f"--{next(iter(hints))}={words[0]}", *words[1:]]
    for word in words:
        if re.search(r"\d{4301}", word):  # Python refuses to read more digits, without a name
            option = word.partition("=")[0][:80]
            raise ValueError(f"{option}: holds a whole number of more than 64 bits; pass another")
    try:
        parsed = parser.parse_args([_carried(word) for word in words])
        parsed = parser.instantiate(_delivered(parsed))
    except Exception as error:
        with named(*files):
            raise UserError(str(error)) from error
    values = {key: value for key, value in parsed.as_dict().items() if key != "config"}
    if configuration is not None:
        with named(*files):
            built = configuration(**values)
        function(built)
    else:
        function(**values)


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
