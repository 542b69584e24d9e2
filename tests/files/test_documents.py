"""Documents that others wrote: what is wrong in them is named, and nothing else happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from msgspec import Meta

from spikesight.errors import UserError
from spikesight.files.documents import check, read_json, read_yaml
from spikesight.files.limits import DOCUMENT_BYTES


@dataclass(frozen=True)
class Inner:
    mean: tuple[float, ...] = ()
    kind: Literal["soft", "hard"] = "soft"

    def __post_init__(self) -> None:
        if len(self.mean) > 3:
            raise UserError(f"mean has {len(self.mean)} values; pass at most 3")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    steps: Annotated[int, Meta(ge=1, le=64)] = 1


class Named(TypedDict):
    name: str
    outer: NotRequired[Outer]


def json_error(path: Path, content: str | bytes, kind: Any = Named) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        read_json(path, kind, remedy="copy it again")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith(("; copy it again", "; pass at most 3", "; save it as UTF-8"))
    return message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[]", "expected fields with values, got a list"),
        ('{"name": 1}', "name: expected text, got a whole number"),
        ('{"outer": {}}', "name: is missing"),
        ('{"name": "a", "outer": {"steps": 0}}', "outer.steps: expected a whole number >= 1"),
        ('{"name": "a", "outer": {"steps": 65}}', "outer.steps: expected a whole number <= 64"),
        ('{"name": "a", "outer": {"steps": 1.0}}', "outer.steps: expected a whole number"),
        ('{"name": "a", "outer": {"steps": true}}', "outer.steps: expected a whole number"),
        (
            '{"name": "a", "outer": {"inner": {"mean": [1, "x"]}}}',
            "outer.inner.mean[1]: expected a number, got text",
        ),
        ('{"name": "a", "outer": {"inner": {"mean": [NaN]}}}', "outer.inner.mean[0]: is nan"),
        ('{"name": "a", "outer": {"inner": {"mean": [1e999]}}}', "outer.inner.mean[0]: is inf"),
        ('{"name": "a", "outer": {"inner": {"kind": "no"}}}', "there is no choice 'no'"),
        ('{"name": "a", "outer": {"inner": {"mean": [1, 2, 3, 4]}}}', "mean has 4 values"),
        ('{"name": "a", "outer": {"inner": {"size": 3}}}', "outer.inner.size: is no field"),
        ('{"name": "a", "name": "b"}', "name: is given twice"),
        (r'{"name": "\ud800"}', "name: holds half of a character"),
        ('{"name": ' + "9" * 5000 + "}", "more than 64 bits"),
        ('{"name": 18446744073709551616}', "name: is a whole number of more than 64 bits"),
        ("[" * 100_000, "is nested deeper than"),
        ('{"a":' * 60 + "1" + "}" * 60, "is nested deeper than"),
        ('{"name": "a"', "is no JSON"),
        ("", "is no JSON"),
        (b'{"name": "\xff"}', "is not text in UTF-8 (byte 10 is 0xff)"),
    ],
)
def test_what_is_wrong_in_json_is_named(content: str | bytes, named: str, tmp_path: Path) -> None:
    assert named in json_error(tmp_path / "run.json", content)


def test_marks_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b'\xef\xbb\xbf{\r\n"name": "a",\r\n"outer": {"inner": {"mean": [1]}}}\r\n')
    expected = Outer(Inner((1.0,)))
    assert read_json(path, Named, remedy="") == {"name": "a", "outer": expected}
    path.write_bytes(b"\xef\xbb\xbfname: a\r\nouter:\r\n  inner: {mean: [1]}\r\n")
    assert read_yaml(path, Named) == {"name": "a", "outer": expected}


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"name": "' + "a" * 100 + '"}')
    with pytest.raises(UserError, match="is a folder"):
        read_json(tmp_path, Named, remedy="copy it")
    monkeypatch.setenv(DOCUMENT_BYTES.variable, "50")
    with pytest.raises(UserError, match=r"run\.json: 112 bytes of JSON are more than the 50"):
        read_json(path, Named, remedy="copy it")


def bomb(line: str) -> str:
    text = "a: &a {x: 1, y: 2}\n"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True):
        text += f"{after}: &{after}\n  {line.format(','.join([f'*{before}'] * 10))}\n"
    return text


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (bomb("[{}]"), "values, those of aliases counted"),
        (bomb("<<: [{}]"), "values, those of aliases counted"),
        ("&a [*a]", "contains itself"),
        ("[" * 100_000, "is nested deeper than"),
        ("- " * 100_000, "is nested deeper than"),
        ("a: .nan", "a: is nan"),
        ("a: 1\nb: {c: 2, c: 3}", "c: is given twice (line 2)"),
        ("a: !!int x", "holds a value that its tag does not allow"),
        ("a: !!python/object/apply:os.system [ls]", "is no YAML"),
        ("a: 0x" + "f" * 100, "a: is a whole number of more than 64 bits"),
        ("a: " + "9" * 5000, "holds a value that its tag does not allow"),
        ("? [1, 2]\n: 3", "is no YAML"),
        ("- 1", "expected fields with values, got a list"),
        ("1: 2", "expected text, got a whole number"),
        ("a: " + "x" * 2**18, "bytes of YAML are more than"),
    ],
)
def test_what_is_wrong_in_yaml_is_named(content: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_yaml(path, dict[str, Any])
    assert str(caught.value).startswith(f"{path}: ")
    assert named in str(caught.value)


def test_numbers_of_yaml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("a: 1e-3\nb: 1.5\nc: -2\nd: 2020-01-01\ne: .5\nf: 1e5\n")
    expected = {"a": 1e-3, "b": 1.5, "c": -2, "d": "2020-01-01", "e": 0.5, "f": 1e5}
    assert read_yaml(path, dict[str, Any]) == expected
    path.write_text("\n")
    assert read_yaml(path, dict[str, Any]) == {}


def test_plain_values_are_checked_alike() -> None:
    assert check({"steps": 3}, Outer, "view") == Outer(steps=3)
    with pytest.raises(UserError, match=r"^view: inner: expected fields with values, got null; "):
        check({"inner": None}, Outer, "view")
