"""benchmarks/object_formats.py finds by how many pixels formats differ."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmark_scripts import load_script
from tests.data.detection import layouts


def test_a_conversion_that_forgot_a_pixel_is_seen(tmp_path: Path) -> None:
    script = load_script("object_formats")
    layouts.voc(tmp_path, lists=False)
    content = layouts.coco_content()
    (tmp_path / "right.json").write_text(json.dumps(content))
    for annotation in content["annotations"]:
        left, top, width, height = annotation["bbox"]
        annotation["bbox"] = [left + 1, top + 1, width - 1, height - 1]
    (tmp_path / "wrong.json").write_text(json.dumps(content))
    found = [
        script.boxes(tmp_path, *where)
        for where in (("voc", "Annotations"), ("coco", "right.json"), ("coco", "wrong.json"))
    ]
    assert script.differences(found[0], found[1]) == {(0, 0, 0, 0): 7}
    assert script.differences(found[0], found[2]) == {(1, 1, 0, 0): 7}
