from fractions import Fraction
from pathlib import Path

import pytest
import torch

from spikesight.data.segmentation.video import VideoWriter, frame_rate

av = pytest.importorskip("av")


@pytest.mark.parametrize(
    "rate",
    [Fraction(30000, 1001), Fraction(25, 2), Fraction(1, 2), Fraction(240000, 1001), Fraction(50)],
)
def test_a_video_lasts_as_long_as_its_frames(tmp_path: Path, rate: Fraction) -> None:
    file = tmp_path / "a.mp4"
    with VideoWriter(file, rate) as writer:
        for number in range(6):
            writer.write(torch.full((3, 256, 366), 40 * number, dtype=torch.uint8))
    assert float(frame_rate(file)) == pytest.approx(float(rate), rel=1e-4)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(float(6 / rate), rel=1e-4)
