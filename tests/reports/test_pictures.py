import base64
import io

import numpy as np
import torch
from PIL import Image

from spikesight.reports.page import page
from spikesight.reports.pictures import (
    Guess,
    guess_grid,
    heat_map,
    photo,
    photos,
    picture,
    shrunk,
    spike_maps,
)
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


def test_photos_are_shrunk_and_small_pictures_keep_every_pixel() -> None:
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (20, 30, 3), np.uint8)
    large = random.integers(0, 255, (900, 1200, 3), np.uint8)
    html = photos([((photo(Image.fromarray(small), "s"),), "<small>")])
    html += photo(Image.fromarray(large), "l", 300)
    first, second = decode(html)
    assert np.array_equal(first, small)
    assert second.shape == (225, 300, 3)
    assert "image/jpeg" in html
    assert "<small>" in Reader(html).text


def test_shrunk_pictures_keep_their_shape_and_mean() -> None:
    image = torch.full((3, 400, 100), 7, dtype=torch.uint8)
    assert shrunk(image, 100).shape == (3, 100, 25)
    assert int(shrunk(image, 100).max()) == 7
    assert torch.equal(shrunk(image, 400), image)


def test_a_page_of_large_mistakes_stays_small() -> None:
    image = torch.randint(256, (3, 224, 224), dtype=torch.uint8)
    assert len(guess_grid([Guess(image, "7", "3", 0.9)] * 24)) < 1e6
