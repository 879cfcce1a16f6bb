"""The engine over plan 1: what it does with messages in SQL it does with messages in Redis, on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.integration import test_engine as scenarios
from tests.services import RedisServer
from tests.support.engine import Rig, open_rig, test_settings

SCENARIOS = [
    scenarios.test_a_message_is_in_both_queues_under_one_body,
    scenarios.test_many_senders_at_once_get_contiguous_numbers_in_both_orders,
    scenarios.test_a_repeat_gets_the_first_answer,
    scenarios.test_repeats_within_one_batch_are_one_message,
    scenarios.test_the_same_client_id_of_another_sender_is_another_message,
    scenarios.test_an_idempotency_key_with_another_request_is_refused,
    scenarios.test_a_notification_is_one_message_for_many_and_unique_by_its_dedupe_key,
    scenarios.test_a_stranger_cannot_write_into_a_conversation,
    scenarios.test_one_bad_draft_does_not_fail_its_batch,
    scenarios.test_who_left_gets_nothing_more,
    scenarios.test_who_joined_is_not_refused_by_a_node_that_did_not_hear_of_it,
    scenarios.test_a_large_conversation_has_no_references,
    scenarios.test_history_is_for_members_only_and_the_inbox_for_its_recipients,
    scenarios.test_sync_stops_at_a_gap_until_a_tombstone_closes_it,
    scenarios.test_a_gap_that_nobody_reads_is_closed_too,
    scenarios.test_a_cursor_from_nowhere_is_told_to_start_again,
    scenarios.test_what_has_expired_is_a_closed_number,
    scenarios.test_committed_but_not_published_is_published_by_the_sweep,
    scenarios.test_after_a_failover_recent_batches_are_published_again,
    scenarios.test_reading_moves_forward_only_and_tells_the_sender,
    scenarios.test_acks_are_written_together_and_never_move_back,
    scenarios.test_too_many_waiting_is_said_at_once,
]
"""Those that say nothing of where messages live."""


@pytest.fixture
async def rig(tmp_path: Path, database_url: str, plan1_redis: RedisServer) -> AsyncIterator[Rig]:
    settings = test_settings(tmp_path, database_url, plan1_redis.url)
    async with open_rig(settings.model_copy(update={"store": "redis"})) as opened:
        yield opened


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.removeprefix("test_"))
async def test_over_plan_1(scenario: Callable[[Rig], Awaitable[None]], rig: Rig) -> None:
    await scenario(rig)
