from __future__ import annotations

from pathlib import Path

import pytest

from .image_files import write_classes


@pytest.fixture
def classes_folder(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "images")
