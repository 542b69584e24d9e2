"""Damaged configurations and the cards of trained models: YAML, JSON, CSV, words."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

import spikesight.training.trainer as trainer
from spikesight.commands.parser import main
from spikesight.costs.price_files import find_cost_model
from spikesight.data import DataConfig, EventPreprocessing, Preprocessing
from spikesight.data.detection import EventObjectPreprocessing, ObjectConfig
from spikesight.data.detection.preparation import preparation
from spikesight.data.segmentation import SceneConfig, ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.inference import DetectionConfig, ViewConfig
from spikesight.reports.training_curves import Run
from spikesight.training import TrainConfig, from_mapping
from spikesight.training.run_log import RunLog
from spikesight.training.runs.card import Card
from spikesight.training.runs.description import read_classes
from spikesight.training.tasks.classification.evaluation import Evaluation
from tests.robustness.damage import TEXTS, Damage
from tests.robustness.guard import Trial, UnsoundError
from tests.training.conftest import TINY

MAPPING: dict[str, Any] = copy.deepcopy(TINY) | {"output": "run"}


def check_finite(value: Any, place: str = "value") -> None:
    """Refuses numbers that are none, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UnsoundError(f"{place} is {value}")
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list | tuple) else items
    for key, item in items:
        check_finite(item, f"{place}.{key}")


# Nine to the seventh strings, by aliases.
_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
_YAML_TEXTS = [
    _BOMB,
    "model: !!python/object/apply:os.system [true]\noutput: run\n",
    "model: &m {name: *m}\noutput: run\n",
    "&a [*a]\n",
    "? [a, b]\n: 1\n",
    "? {a: 1}\n: 1\n",
    "null: 1\nmodel: {name: x}\n",
    "1: 2\n",
    "<<: {model: {name: metaspikformer_nano}}\noutput: run\n",
    "<<: 3\n",
    "model: {name: metaspikformer_nano}\noutput: run\n---\nmodel: {}\n",
    "model: {name: metaspikformer_nano\noutput: run\n",
    "\tmodel: 1\n",
    "model: 'metaspikformer_nano\n",
    "%YAML 9.9\n---\nmodel: {name: metaspikformer_nano}\n",
    "%TAG ! tag:x,2000:\n---\nmodel: !x {name: y}\n",
    "model: {name: metaspikformer_nano}\noutput: run\nepochs: .inf\n",
    "model: {name: metaspikformer_nano}\noutput: run\noptimizer: {lr: .nan}\n",
    "model: {name: metaspikformer_nano}\noutput: run\nseed: 0o17\n",
    "model: {name: metaspikformer_nano}\noutput: run\nseed: 1:30\n",
    "model: {name: no}\noutput: no\n",
    "model: {name: metaspikformer_nano, name: relu}\noutput: run\noutput: other\n",
    "model: {name: metaspikformer_nano}\noutput: 2024-01-01\n",
    "model: {name: !!binary aGVsbG8=}\noutput: run\n",
    "model: {name: metaspikformer_nano}\noutput: !!set {a, b}\n",
    "model: {name: metaspikformer_nano}\noutput: run\nseed: " + "9" * 5000 + "\n",
    "model: " + "{a: " * 3000 + "1" + "}" * 3000 + "\n",
    "- " * 5000 + "1\n",
    "model: " + "[" * 20_000 + "\n",
    "# nothing\n",
    "model\n",
    "\0",
    "@",
    "`x`",
    "model: |\n  a\n b\n",
]


def _yaml_bytes(mapping: dict[str, Any], damage: Damage) -> bytes:
    if damage.none:
        return yaml.safe_dump(mapping).encode()
    if damage.hits(0.2):
        text = damage.random.choice(_YAML_TEXTS)
        damage.note(text[:80])
        return damage.document(text)
    if damage.hits(0.15):
        return damage.bytes(yaml.safe_dump(mapping).encode(), 400)
    text = yaml.safe_dump(damage.tree(mapping), allow_unicode=damage.random.random() < 0.5)
    return damage.document(text)


@cache
def _full_mapping() -> dict[str, Any]:
    mapping = from_mapping(TrainConfig, MAPPING).to_mapping()
    mapping["model"]["arguments"] = MAPPING["model"]["arguments"]
    return mapping


def _configuration(damage: Damage, folder: Path) -> Trial:
    path = folder / "recipe.yaml"
    mapping = MAPPING if damage.none or damage.random.random() < 0.6 else _full_mapping()
    path.write_bytes(_yaml_bytes(mapping, damage))
    use = damage.random.randrange(3)

    def read() -> None:
        seen: list[Any] = []
        if use < 2 or damage.none:
            seen.append(TrainConfig.load(path))
        else:
            _through_command_line([str(path)], seen)
        check_finite(seen)

    return Trial(read, (path.name, *_fields(_full_mapping())), "; ".join(damage.notes))


def _fields(mapping: dict[str, Any]) -> set[str]:
    """Dotted names of all fields, and their last parts where these are no common words."""
    dotted = _flat(mapping)
    return (
        {name for name in dotted if "." in name or "_" in name}
        | {f"{quote}{name}{quote}" for name in dotted for quote in ("'", '"')}
        | {f"{name} is" for name in dotted}
    )


def _through_command_line(words: list[str], seen: list[Any]) -> None:
    before = trainer.train
    trainer.train = seen.append  # type: ignore[assignment]
    try:
        code = main(["train", *words, "--debug"])
    finally:
        trainer.train = before
    if code == 0 and not seen:
        raise UnsoundError("nothing was trained and no error said")


def _words(damage: Damage, folder: Path) -> Trial:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(MAPPING))
    random = damage.random
    flat = sorted(_flat(_full_mapping()))
    words = [str(path)]
    for _ in range(0 if damage.none else random.choice([1, 1, 2])):
        name = random.choice(flat)
        odd = [text for text in TEXTS if "\0" not in text and "\ud800" not in text]
        odd += [
            "nan",
            ".nan",
            "inf",
            "-.inf",
            "[1,2",
            "{a: 1}",
            "[]",
            "null",
            "1e400",
            "9" * 5000,
            "[" * 3000,
        ]
        odd += [
            "!!python/object/apply:os.system [true]",
            "1.5",
            "true",
            "[0.5, nan]",
            '{"a": 1, "a": 2}',
        ]
        value = random.choice(odd)
        word = random.choice(
            [f"--{name}={value}", f"--{name}={value}", f"--{name}", f"--{name}.x={value}"]
        )
        damage.note(word[:80])
        words.append(word)

    def read() -> None:
        seen: list[Any] = []
        _through_command_line(words, seen)
        check_finite(seen)

    names = [word[2:].partition("=")[0].rpartition(".")[2] for word in words[1:]]
    names += [word[2:].partition("=")[0].partition(".")[0] for word in words[1:]]
    return Trial(read, (path.name, *names), "; ".join(damage.notes))


def _flat(mapping: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in mapping.items():
        found.append(prefix + key)
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
    return found


def _card(kind: str, folder: Path) -> None:
    figures = Evaluation(0.5, 50.0, 90.0, 10, 0.1, ()) if kind == "classification" else None
    if kind in ("classification", "masked_image"):
        steps: Any = Preprocessing(16, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("a", "b"))
        data = DataConfig(format="digits")
        Card(data, steps, 1, "model", figures, kind).write(folder)
    elif kind == "events":
        steps = EventPreprocessing(16, 2, 4, sensor=(34, 34), classes=("a", "b"))
        data = DataConfig(format="event_folders", path="x", channels=2)
        Card(data, steps, 1, "model", None).write(folder)
    elif kind in ("detection", "event detection"):
        objects = ObjectConfig(format="digit_scenes" if kind == "detection" else "moving_digits")
        boxes, _ = preparation(objects, table_of(("a", "b"), (0, 1)), 0)
        view = DetectionConfig()
        Card(objects, boxes, 1, "model", None, "detection", view=view).write(folder)
    else:
        scene = ScenePreprocessing(
            (0.5,) * 3, (0.5,) * 3, (32, 32), None, table_of(("a", "b"), (1,))
        )
        config = SceneConfig(format="digit_scenes")
        Card(config, scene, 1, "model", None, kind, view=ViewConfig()).write(folder)


def _cards(damage: Damage, folder: Path) -> Trial:
    import json

    from tests.robustness.image_files import sound_image
    from tests.robustness.recordings import sound_recording

    kinds = ["classification", "events", "semantic", "panoptic", "masked_image"]
    kinds += ["detection", "event detection"]
    kind = "classification" if damage.none else damage.random.choice(kinds)
    _card(kind, folder)
    path = folder / "run.json"
    if not damage.none:
        path.write_bytes(damage.json(json.loads(path.read_text())))
    photo, recording = folder / "photo.png", folder / "recording.npz"
    photo.write_bytes(sound_image(3))
    recording.write_bytes(sound_recording("npz"))

    def read() -> None:
        card = Card.read(folder)
        if card.task == "detection":
            check_finite([card.preprocessing, card.data, card.view])
            events = isinstance(card.preprocessing, EventObjectPreprocessing)
            one = card.preprocessing.read_file(recording if events else photo)
            batch = card.preprocessing.batch_transform(one[None])
        elif card.view is not None:
            check_finite([card.preprocessing, card.data, card.view])
            shown = card.preprocessing.fit(torch.zeros(3, 20, 30, dtype=torch.uint8))
            batch = card.preprocessing.batch_transform(shown[None])
        else:
            check_finite([card.preprocessing, card.data])
            events = isinstance(card.preprocessing, EventPreprocessing)
            one = card.preprocessing.read_file(recording if events else photo)
            batch = card.preprocessing.batch_transform(one[None])
        if not batch.isfinite().all():
            raise UnsoundError("inputs that are no numbers")

    return Trial(read, (path.name,), f"{kind}; " + "; ".join(damage.notes))


_ROWS = [
    "2,0.5",
    "x,0.5",
    "",
    "1",
    "1,0.5,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "nan,1",
    "1.5,1",
    "-1,0",
    '"1,2',
    "9" * 5000 + ",1",
    "1e9,3",
    " 1,2",
    "1,\0",
]


_EPOCHS = ["x", "", "nan", "1.5", "-1", "9" * 5000, "1e9", " 1", "\0", "٣", "²", "1_0", "True"]


def _metrics(damage: Damage, folder: Path) -> Trial:
    path = folder / "metrics.csv"
    columns = "epoch,train_loss,lr,val_top1,ema_top1,firing_rate,silent_neurons"
    head = damage.pick(
        f"{columns},images_per_second,seconds,peak_memory",
        ["a,b", "", "epoch", "epoch,epoch", f"\ufeff{columns}", f"{columns},seconds"],
        "head",
    )
    rest = ",0.5,0.1,3,,0.1,0,9.0,1.0,1000000"
    rows = [damage.pick(f"{n}{rest}", _ROWS, "row", 0.15) for n in (1, 2)]
    rows = [damage.pick(row, [n + rest for n in _EPOCHS], "epoch", 0.15) for row in rows]
    content = "\n".join([head, *rows, ""]).encode()
    path.write_bytes(damage.bytes(content) if damage.hits(0.3) else content)

    def read() -> None:
        log = RunLog(folder, 3, ("top1",))
        values = (3, 0.5, 0.1, 1.0, None, 0.1, 0, 1.0, 1.0, 1_000_000)
        log.write_epoch(dict(zip(log.columns, values, strict=True)))
        log.close()
        Run("run", "student", folder).column("val_top1")  # type: ignore[arg-type]

    return Trial(read, (path.name,), "; ".join(damage.notes))


def _class_list(damage: Damage, folder: Path) -> Trial:
    path = folder / "names.txt"
    lines = [damage.pick(line, TEXTS, "line", 0.1) for line in ("cat", "dog", "bird")]
    text = "\n".join(lines)
    if damage.hits(0.4):
        path.write_bytes(damage.bytes(text.encode("utf-8", "surrogatepass")))
    else:
        path.write_bytes(damage.document(text))

    def read() -> None:
        names = read_classes(path)
        if len(set(names)) != len(names) or not all(name.strip() for name in names):
            raise UnsoundError(f"classes {names}")

    return Trial(read, (path.name,), "; ".join(damage.notes))


def _prices(damage: Damage, folder: Path) -> Trial:
    path = folder / "chip.yaml"
    mapping = {"model": "memory", "add": 0.2, "queue": 2048, "sizes": [1, 2, 3]}
    path.write_bytes(_yaml_bytes(mapping, damage))

    def read() -> None:
        check_finite(find_cost_model(path))

    names = (path.name, "model", "add", "queue", "sizes")
    return Trial(read, names, "; ".join(damage.notes))


READERS = [
    ("class lists", _class_list, 30),
    ("configurations", _configuration, 25),
    ("command lines", _words, 8),
    ("prices", _prices, 60),
    ("run.json", _cards, 120),
    ("metrics.csv", _metrics, 20),
]
