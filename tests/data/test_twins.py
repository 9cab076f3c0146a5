"""The banded search finds what comparing all with all finds, on even and on skewed hashes, and it scales."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.data import twins
from agegender.data.twins import cluster, distinct_near_pairs, near_pairs
from agegender.errors import UsageError


def brute_force(hashes, radius):
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    first, second = np.nonzero(np.triu(distance <= radius, 1))
    return np.stack([first, second], axis=1)


def even_hashes(count, seed=3):
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def skewed_hashes(count, seed=3):
    """Equal ones, near ones, ones that share most bits, and a few that share none, as flat and busy photos do."""
    hashes = even_hashes(count, seed)
    third = count // 3
    hashes[:third] &= np.uint64(2**13 - 1)
    hashes[third : third + 40] = hashes[-1]
    hashes[-60:] = hashes[third - 60 : third] ^ np.uint64(0b10110)
    return hashes


def with_twins(hashes, twin_count, radius, seed=5):
    """Return hashes of which `twin_count` were made from others by turning over `radius` bits, and those pairs."""
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(hashes))[: 2 * twin_count].reshape(2, -1)
    twins = hashes[chosen[0]].copy()
    for _ in range(radius):
        twins ^= np.uint64(1) << generator.integers(0, 64, twin_count).astype(np.uint64)
    hashes = hashes.copy()
    hashes[chosen[1]] = twins
    return hashes, np.sort(chosen.T, axis=1)


@pytest.mark.parametrize("make", [even_hashes, skewed_hashes])
def test_pairs_equal_brute_force_for_every_radius(make, monkeypatch):
    monkeypatch.setattr(twins, "_FEW", 2)
    hashes = make(240)
    for radius in range(65):
        assert np.array_equal(near_pairs(hashes, radius), brute_force(hashes, radius)), radius


@pytest.mark.parametrize("radius", [0, 1, 3, 5, 8, 12])
def test_bands_large_buckets_and_blocks_equal_brute_force(radius):
    hashes = skewed_hashes(3000)
    assert np.array_equal(near_pairs(hashes, radius), brute_force(hashes, radius))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 64))
def test_pairs_of_any_hashes_equal_brute_force(numbers, radius):
    hashes = np.array(numbers + numbers[:5], dtype=np.uint64)
    assert np.array_equal(near_pairs(hashes, radius), brute_force(hashes, radius))


def test_counts_without_listing_equal_the_list():
    hashes = skewed_hashes(900)
    pairs = near_pairs(hashes, 5)
    distinct = distinct_near_pairs(hashes, 5)
    assert distinct.pair_count() == len(pairs)
    assert np.array_equal(np.flatnonzero(distinct.is_twin()), np.unique(pairs))


def test_planted_twins_are_found_without_comparing_all_with_all(monkeypatch):
    hashes, planted = with_twins(even_hashes(23_000), 500, 5)
    compared = []
    original = twins._all_pairs
    monkeypatch.setattr(twins, "_all_pairs", lambda some, radius: compared.append(len(some)) or original(some, radius))
    pairs = near_pairs(hashes, 5)
    assert {tuple(pair) for pair in planted.tolist()} <= {tuple(pair) for pair in pairs.tolist()}
    assert sum(compared) < len(hashes) / 10


def test_a_hundred_thousand_equal_hashes_are_counted_and_not_listed():
    hashes = np.concatenate([np.full(100_000, 77, np.uint64), even_hashes(10)])
    assert distinct_near_pairs(hashes, 5).pair_count() == 100_000 * 99_999 // 2
    with pytest.raises(UsageError, match="too many to list"):
        near_pairs(hashes, 5)


@pytest.mark.parametrize("radius", [-1, 65])
def test_a_radius_out_of_range_is_refused(radius):
    with pytest.raises(UsageError, match="0 to 64"):
        near_pairs(even_hashes(3), radius)


def test_clusters_follow_chains_and_leave_others_alone():
    numbers = cluster(6, np.array([[0, 1], [1, 2], [4, 5]]))
    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[4] == numbers[5]
    assert len(set(numbers.tolist())) == 3
    assert len(set(cluster(3, np.empty((0, 2), dtype=np.int64)).tolist())) == 3


@pytest.mark.slow  # two seconds each on one core
@pytest.mark.parametrize("kind", ["even", "skewed"])
def test_a_million_hashes_give_up_all_planted_twins(kind):
    hashes = even_hashes(1_000_000)
    if kind == "skewed":  # half of the bits repeat among a few thousand patterns
        hashes = (hashes & np.uint64(0x5555555555555555)) | (
            even_hashes(5000)[np.arange(1_000_000) % 5000] & np.uint64(0xAAAAAAAAAAAAAAAA)
        )
    hashes, planted = with_twins(hashes, 10_000, 5)
    pairs = near_pairs(hashes, 5)
    found = set((pairs[:, 0] * len(hashes) + pairs[:, 1]).tolist())
    assert set((planted[:, 0] * len(hashes) + planted[:, 1]).tolist()) <= found
