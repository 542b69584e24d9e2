"""Shards train in an order that is a pure function, whoever reads and wherever it begins."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from spikesight.data import DataConfig, EpochSampler, Loaders, build_loaders
from spikesight.data.shards.archive import ShardArchive
from spikesight.data.shards.order import ShardSampler
from tests.data.image_files import encode
from tests.data.shards.shard_files import write_shards, write_tar

Batches = list[tuple[Tensor, Tensor]]


def sampler(
    lengths: list[int], rank: int = 0, world: int = 1, batch: int = 4, **fields: Any
) -> ShardSampler:
    shards = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return ShardSampler(
        len(shards),
        fields.pop("seed", 0),
        rank,
        world,
        shards=shards,
        update=batch * world,
        buffer=fields.pop("buffer", 64),
        **fields,
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=9),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 300),
    st.booleans(),
    st.integers(0, 3),
)
def test_processes_share_an_epoch(
    lengths: list[int], world: int, batch: int, buffer: int, drop_last: bool, epoch: int
) -> None:
    size = sum(lengths)
    samplers = [
        sampler(lengths, rank, world, batch, buffer=buffer, drop_last=drop_last)
        for rank in range(world)
    ]
    for each in samplers:
        each.set_epoch(epoch)
    shares = [list(each) for each in samplers]
    assert len({len(share) for share in shares}) == 1
    together = [index for share in shares for index in share]
    if drop_last:
        assert len(set(together)) == len(together) == size // world * world
    else:
        assert set(together) == set(range(size))
    for each, share in zip(samplers, shares, strict=True):
        each.set_epoch(epoch, start=3)
        assert list(each) == share[3:]


@pytest.mark.parametrize("world", [2, 4, 8])
def test_processes_together_see_the_batches_of_one(world: int) -> None:
    lengths = [100, 3, 57, 240]
    alone = list(sampler(lengths, batch=16))
    shares = [list(sampler(lengths, rank, world, 16 // world)) for rank in range(world)]
    assert [index for step in zip(*shares, strict=True) for index in step] == alone


def test_the_batches_of_an_update_are_those_of_one(tmp_path: Path) -> None:
    config = folder_config(write_shards(tmp_path, [61, 2, 90]), validation_fraction=0.1)
    whole = [labels for _, labels in build_loaders(config, 8, seed=0).train]
    halves = [labels for _, labels in build_loaders(config, 4, seed=0, accumulation=2).train]
    for number, labels in enumerate(whole):
        assert torch.equal(torch.cat(halves[2 * number : 2 * number + 2]), labels)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(epoch: int, seed: int = 0) -> list[int]:
        each = sampler([50] * 4, seed=seed)
        each.set_epoch(epoch)
        return list(each)

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != order(1, seed=1)
    one_shard = sampler([200])
    firsts = set()
    for epoch in range(8):
        one_shard.set_epoch(epoch)
        firsts.add(frozenset(list(one_shard)[:4]))
    assert len(firsts) == 8


@pytest.mark.parametrize(
    ("world", "workers", "accumulation", "again"),
    [
        *((1, 0, 1, 1), (1, 4, 1, 1), (2, 2, 1, 1), (4, 1, 1, 1), (8, 2, 1, 1), (16, 1, 1, 1)),
        # What others read too: processes that are no power of two, three workers, or two batches
        # of an update.
        *((3, 4, 1, 3), (2, 3, 1, 3), (1, 4, 2, 2)),
    ],
)
@pytest.mark.parametrize("update", [48, 768])
def test_every_reader_reads_its_own_pieces_in_blocks_read_once(
    world: int,
    workers: int,
    accumulation: int,
    again: int,
    update: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spikesight.data.shards.order.BLOCK", 16)
    if update == 48 and world == 16:
        again = 2
    lengths = [700, 500, 900, 300, 1200, 400, 800, 200] * 4  # photos of one byte
    batch, readers, loads = update // world // accumulation, max(workers, 1), 0
    pieces = 4 * (8 if update == 48 else 32)
    for rank in range(world):
        each = sampler(lengths, rank, world, update // world, buffer=1024)
        photos, room = list(each), each.blocks(1.0, workers, accumulation)
        assert room <= again * (-(-1024 // 16) + 3 * pieces) / (world * readers)
        for worker in range(readers):
            kept: dict[int, None] = {}
            for start in range(worker * batch, len(photos), readers * batch):
                for photo in photos[start : start + batch]:
                    if photo // 16 not in kept:
                        kept[photo // 16] = None
                        loads += 1
                    if len(kept) > room:
                        del kept[next(iter(kept))]
    # Pieces begin anywhere, so that a block may lie in two.
    blocks = sum(lengths) / 16
    assert blocks <= loads <= again * (blocks + pieces + len(lengths))


def folder_config(path: Path, **fields: Any) -> DataConfig:
    values = {"image_size": 10, "workers": 0, "shuffle_buffer": 40, **fields}
    return DataConfig("shards", str(path), random_resized_crop=0.5, random_erasing=0.5, **values)


def epoch(loaders: Loaders, number: int, start: int = 0) -> Batches:
    loaders.train.set_epoch(number, start)
    return [
        (loaders.batch_transform_train(images, loaders.train.generator(batch)), labels)
        for batch, (images, labels) in enumerate(loaders.train, start=start)
    ]


def assert_equal(first: Batches, second: Batches) -> None:
    for (images, labels), (other_images, other_labels) in zip(first, second, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_is_the_same(tmp_path: Path, workers: int) -> None:
    config = folder_config(write_shards(tmp_path, [37, 5, 60]), workers=workers)
    first = epoch(build_loaders(config, 6, seed=1), 4)
    loaders = build_loaders(config, 6, seed=1)
    assert isinstance(loaders.train.sampler, ShardSampler)
    epoch(loaders, 0)
    torch.rand(3)
    for start in (1, 5, 12):
        assert_equal(epoch(loaders, 4, start), first[start:])
    assert not torch.equal(epoch(loaders, 5)[0][0], first[0][0])
    assert len(loaders.train) == len(first)


def test_workers_give_the_same_batches(tmp_path: Path) -> None:
    path = write_shards(tmp_path, [37, 5, 60])
    alone = build_loaders(folder_config(path), 6, seed=1)
    helped = build_loaders(folder_config(path, workers=2), 6, seed=1)
    for number in (0, 1):
        assert_equal(epoch(alone, number), epoch(helped, number))


def test_unequal_shards_give_every_process_as_many_batches(tmp_path: Path) -> None:
    config = folder_config(write_shards(tmp_path, [61, 2, 9]), validation_fraction=0.1)
    alone = build_loaders(config, 8, seed=0)
    two = [build_loaders(config, 4, 0, rank, 2) for rank in range(2)]
    shares = [[labels for _, labels in loaders.train] for loaders in two]
    assert len(shares[0]) == len(shares[1]) == len(alone.train) == 8
    for first, second, (_, labels) in zip(*shares, alone.train, strict=True):
        assert torch.equal(torch.stack((first, second), 1).flatten(), labels)


def test_a_set_that_the_buffer_holds_is_shuffled_as_a_folder_is(tmp_path: Path) -> None:
    path = write_shards(tmp_path, [20, 20])
    loaders = build_loaders(folder_config(path, shuffle_buffer=1000), 4, seed=0)
    assert type(loaders.train.sampler) is EpochSampler
    small = build_loaders(folder_config(path, shuffle_buffer=1), 4, seed=0)
    assert isinstance(small.train.sampler, ShardSampler)
    source = small.train.dataset.source  # type: ignore[attr-defined]
    assert isinstance(source.archive, ShardArchive)
    assert source.archive.room > 0
    assert small.validation.dataset.source.archive.room == 0  # type: ignore[attr-defined]


def test_photos_that_lie_class_by_class_are_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = [
        member
        for number in range(60)
        for member in (
            (f"{number:03}.png", encode()),
            (f"{number:03}.cls", str(number // 20).encode()),
        )
    ]
    path = write_tar(tmp_path / "sorted.tar", members)
    with caplog.at_level(logging.WARNING):
        build_loaders(folder_config(write_shards(tmp_path / "mixed", [60])), 4, seed=0)
        assert not caplog.records
        build_loaders(folder_config(path), 4, seed=0)
    assert "sorted.tar: the photos lie class by class" in caplog.text
