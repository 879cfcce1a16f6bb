"""Slots of keys, keys of commands, and the map of who serves what."""

from __future__ import annotations

import pytest

from hub.partitions import PARTITIONS, user_tag
from hub.redis_address import Host
from hub.redis_slots import SLOTS, gathered, goes_everywhere, key_of, moved_to, read_slots, slot_of
from hub.redis_wire import Command, Script

HERE = Host("here", 1)
SCRIPT = Script("s", "return 1")


class TestSlots:
    @pytest.mark.parametrize(
        ("key", "slot"),
        [("123456789", 0x31C3), ("foo", 12_182), ("bar", 5_061), ("hello", 866), ("", 0)],
    )
    def test_known_keys(self, key: str, slot: int) -> None:
        assert slot_of(key) == slot % SLOTS

    def test_what_stands_between_the_first_braces_decides(self) -> None:
        assert slot_of("{user1000}.following") == slot_of("{user1000}.followers") == slot_of("user1000")
        assert slot_of("foo{bar}{zap}") == slot_of("bar")
        assert slot_of("foo{{bar}}zap") == slot_of("{bar")

    def test_empty_braces_decide_nothing(self) -> None:
        assert slot_of("foo{}{bar}") != slot_of("bar")
        assert slot_of("foo{bar") == slot_of(b"foo{bar")

    def test_partitions_are_spread_over_the_slots(self) -> None:
        slots = {slot_of(f"hub:tail:{user_tag(user)}:{user}") for user in range(20_000)}
        assert len(slots) > 0.9 * PARTITIONS
        thirds = [sum(slot // 5_462 == third for slot in slots) for third in range(3)]
        assert min(thirds) > 0.8 * max(thirds)


class TestKeys:
    @pytest.mark.parametrize(
        ("command", "key"),
        [
            (("GET", "k"), "k"),
            (("SPUBLISH", "channel", b"payload"), "channel"),
            ((SCRIPT, 2, "a", "b", "argument"), "a"),
            ((SCRIPT, 0, "argument"), None),
            (("EVAL", "return 1", "1", b"k"), b"k"),
            (("EVALSHA", "0" * 40, 0), None),
            (("OBJECT", "ENCODING", "k"), "k"),
            (("memory", "USAGE", "k"), "k"),
            (("SADD", 7, "x"), "7"),
            (("PING",), None),
            (("INFO", "server"), None),
        ],
    )
    def test_the_first_key_of_a_command(self, command: Command, key: str | bytes | None) -> None:
        assert key_of(command) == key

    def test_every_master_is_asked_what_has_no_key_and_concerns_all(self) -> None:
        assert [goes_everywhere((name,)) for name in ("PING", "KEYS", "INFO", "GET")] == [
            True,
            True,
            False,
            False,
        ]
        assert gathered(("KEYS", "*"), [[b"a"], [], [b"b"]]) == [b"a", b"b"]
        assert gathered(("PING",), [b"PONG", b"PONG"]) == b"PONG"
        error = ValueError("one says no")
        assert gathered(("PING",), [b"PONG", error]) is error


class TestMaps:
    def test_owners_and_all_that_are_named(self) -> None:
        answer = [
            [0, 99, [b"10.0.0.1", 7_000, b"id1"], [b"10.0.0.4", 7_003, b"id4"]],
            [100, 16_382, [b"10.0.0.2", 7_001, b"id2"]],
        ]
        found = read_slots(answer, HERE)
        first, second = Host("10.0.0.1", 7_000), Host("10.0.0.2", 7_001)
        assert (found.owners[0], found.owners[99], found.owners[100], found.owners[16_382]) == (
            *(first, first),
            *(second, second),
        )
        assert found.owners[16_383] is None
        assert found.masters == (first, second)
        assert Host("10.0.0.4", 7_003) in found.nodes

    @pytest.mark.parametrize("name", [b"", None, b"?"])
    def test_who_does_not_know_its_name_is_where_it_was_asked(self, name: bytes | None) -> None:
        assert read_slots([[0, 1, [name, 7_000, b"id"]]], HERE).masters == (Host("here", 7_000),)
        assert moved_to("", 9, HERE) == Host("here", 9)
