import base64
import io

import numpy as np
import torch
from PIL import Image

from spikesight.reports.page import page
from spikesight.reports.pictures import Guess, guess_grid, heat_map, picture, spike_maps
from tests.reports.reading import Reader, assert_self_contained


def decode(html: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
        for address in Reader(html).pictures
    ]


def test_pictures_keep_every_pixel() -> None:
    grey = torch.randint(256, (1, 5, 7), dtype=torch.uint8)
    colour = torch.randint(256, (3, 5, 7), dtype=torch.uint8)
    first, second = decode(picture(grey, "g") + picture(colour, "c"))
    assert np.array_equal(first, grey[0].numpy())
    assert np.array_equal(second, colour.permute(1, 2, 0).numpy())


def test_heat_maps_grow_brighter_with_the_value() -> None:
    (array,) = decode(heat_map(torch.arange(5.0)[None], 4.0, "counts"))
    brightness = array.astype(int).sum(-1)[0]
    assert (np.diff(brightness) > 0).all()


def test_mistakes_stand_out() -> None:
    image = torch.zeros(1, 4, 4, dtype=torch.uint8)
    html = guess_grid([Guess(image, "7", "7", 0.91), Guess(image, "<8", "3", 0.5)])
    assert html.count('class="digit wrong"') == 1
    text = Reader(html).text
    assert "91 %" in text
    assert "is <8" in text
    assert "is 7" not in text


def test_spikes_stand_beside_their_sum() -> None:
    steps, levels, count = 2, 3, 4
    spikes = torch.zeros(steps, levels, count, 5, 5, dtype=torch.float64)
    spikes[1, :2, 0, 0, 0] = 1
    html = spike_maps(spikes, [f"channel {n}" for n in range(count)])
    assert_self_contained(page("t", "l", html))
    maps = decode(html)
    assert len(maps) == steps * count * (levels + 1)
    row = maps[count * (levels + 1) :][: levels + 1]
    lit = [int(array.astype(int).sum(-1)[0, 0]) for array in row]
    assert lit[0] == lit[1] > lit[3] > lit[2]
    assert "time step 2" in Reader(html).text
    assert "time step" not in Reader(spike_maps(spikes[:1], ["a"] * count)).text
