from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings, strategies as st

from spikesight.data import EpochSampler, EvaluationSampler
from spikesight.data.sampling import derive_seed
from spikesight.data.stratification import choose_stratified, split_grouped, split_stratified


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    sampler, again = EpochSampler(50, seed=3), EpochSampler(50, seed=3)
    sampler.set_epoch(7)
    list(sampler)
    again.set_epoch(7)
    assert list(sampler) == list(again)
    again.set_epoch(8)
    assert list(sampler) != list(again)
    other = EpochSampler(50, seed=4)
    other.set_epoch(7)
    assert list(sampler) != list(other)


def test_a_start_leaves_out_what_was_seen() -> None:
    sampler = EpochSampler(50, seed=3, rank=1, world_size=2)
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.set_epoch(2, start=10)
    assert list(sampler) == whole[10:]
    assert len(sampler) == 15
    assert sampler.samples_per_epoch == 25


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 5), st.booleans(), st.integers(0, 3))
def test_processes_share_an_epoch(size: int, world: int, drop_last: bool, epoch: int) -> None:
    samplers = [EpochSampler(size, 0, rank, world, drop_last=drop_last) for rank in range(world)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    shares = [list(sampler) for sampler in samplers]
    assert len({len(share) for share in shares}) == 1
    together = [index for share in shares for index in share]
    if drop_last:
        assert len(set(together)) == len(together) == size // world * world
    else:
        assert set(together) == set(range(size))
    alone = EpochSampler(size, 0, drop_last=drop_last)
    alone.set_epoch(epoch)
    steps = [index for step in zip(*shares, strict=True) for index in step]
    assert steps[:size] == list(alone)[: len(steps)]


def test_without_shuffling_the_order_is_kept() -> None:
    assert list(EpochSampler(5, seed=0, shuffle=False)) == [0, 1, 2, 3, 4]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), st.integers(1, 5))
def test_evaluation_takes_each_image_once(size: int, world: int) -> None:
    shares = [list(EvaluationSampler(size, rank, world)) for rank in range(world)]
    assert sorted(index for share in shares for index in share) == list(range(size))
    assert list(EvaluationSampler(size, in_order=True)) == list(range(size))
    assert [len(EvaluationSampler(size, r, world)) for r in range(world)] == list(map(len, shares))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 300), st.integers(1, 300))
def test_the_first_of_an_evaluation_are_spread_over_the_set(size: int, count: int) -> None:
    first = sorted(list(EvaluationSampler(size))[:count])
    gaps = [b - a for a, b in pairwise([-1, *first, size])]
    assert max(gaps) <= 2 * max(size / count, 1)


def test_seeds_depend_on_every_key_and_on_their_order() -> None:
    keys = [(1, 2, 3), (3, 2, 1), (1, 2), (1, 2, 4), (0, 2, 3)]
    assert len({derive_seed(*k) for k in keys}) == len(keys)
    assert all(0 <= derive_seed(*k) < 2**63 for k in keys)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
    st.floats(0, 0.99),
    st.integers(0, 2**31),
)
def test_splits_are_stratified_and_disjoint(labels: list[int], fraction: float, seed: int) -> None:
    tensor = torch.tensor(labels)
    train, validation = split_stratified(tensor, fraction, seed)
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(labels)))
    for label in set(labels):
        chosen = int((tensor[validation] == label).sum())
        assert abs(chosen - fraction * labels.count(label)) <= 0.5 + 1e-9
    again = split_stratified(tensor, fraction, seed)
    assert torch.equal(validation, again[1])


def test_another_split_seed_chooses_other_images() -> None:
    labels = torch.arange(100) % 2
    assert not torch.equal(split_stratified(labels, 0.3, 0)[1], split_stratified(labels, 0.3, 1)[1])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=80),
    st.floats(0.05, 0.95),
    st.integers(0, 2**31),
)
def test_groups_stay_whole(images: list[tuple[int, int]], fraction: float, seed: int) -> None:
    labels, groups = (torch.tensor(column) for column in zip(*images, strict=True))
    train, validation = split_grouped(labels, groups, fraction, seed)
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(images)))
    assert not {*groups[train].tolist()} & {*groups[validation].tolist()}
    assert torch.equal(validation, split_grouped(labels, groups, fraction, seed)[1])


def test_whole_groups_come_near_the_share_of_every_class() -> None:
    labels, groups = torch.arange(200) % 10, torch.arange(200) // 10
    chosen = {tuple(split_grouped(labels, groups, 0.25, seed)[1].tolist()) for seed in range(5)}
    assert len(chosen) == 5
    for validation in chosen:
        assert torch.equal(labels[list(validation)].bincount(), torch.full((10,), 5))


def test_a_choice_holds_every_class_and_grows() -> None:
    labels = torch.arange(300) % 3
    one, ten, all_of_them = (choose_stratified(labels, share, 5) for share in (0.001, 0.1, 1.0))
    assert labels[one].bincount().tolist() == [1, 1, 1]
    assert labels[ten].bincount().tolist() == [10, 10, 10]
    assert set(one.tolist()) < set(ten.tolist())
    assert torch.equal(all_of_them, torch.arange(300))
    assert not torch.equal(choose_stratified(labels, 0.1, 6), ten)
