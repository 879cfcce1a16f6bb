"""Partition tags: the same for ever, and keys grouped by them."""

from __future__ import annotations

from hub.partitions import KEYS_PER_CALL, PARTITIONS, by_partition, single, tag, user_tag

GOLDEN = ["{p0490}", "{p0387}", "{p0099}", "{p0387}"]


def test_a_tag_never_changes() -> None:
    # Written into every Redis there is: another answer would lose what is stored under this one.
    assert [tag("u:1"), tag("u:42"), tag("c:cnv_abc"), user_tag(42)] == GOLDEN


def test_all_partitions_are_used() -> None:
    assert len({user_tag(user) for user in range(20_000)}) == PARTITIONS


def test_one_server_takes_any_keys_together_in_bounded_calls() -> None:
    keys = [f"hub:tail:{user_tag(user)}:{user}" for user in range(1_201)]
    groups = list(single(keys))
    assert [len(group) for group in groups] == [KEYS_PER_CALL, KEYS_PER_CALL, 201]
    assert [i for group in groups for i in group] == list(range(1_201))
    assert list(single([])) == []


def test_a_cluster_takes_keys_of_one_partition_together() -> None:
    keys = [f"hub:tail:{user_tag(user)}:{user}" for user in range(3_000)] + ["hub:x:{p0001}"] * 600
    groups = list(by_partition(keys))
    assert sorted(i for group in groups for i in group) == list(range(3_600))
    assert all(len(group) <= KEYS_PER_CALL for group in groups)
    for group in groups:
        assert len({keys[i].partition("{")[2].partition("}")[0] for i in group}) == 1
