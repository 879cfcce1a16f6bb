"""The delivery story: why did this person (not) get it, for a notification, a message, and everything of a user."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from hub.api.answers import listed, page_of, shown
from hub.api.deliveries import delivery_shown
from hub.api.deps import Hub, Services, by_key, user_of
from hub.api.route import HubRoute
from hub.api.schemas import After, HubId, Limit, Listing, PathUser, UserId
from hub.api.schemas_stories import (
    ExplanationShown,
    MeaningShown,
    StepEventShown,
    StepShown,
    TryShown,
    WordsShown,
)
from hub.core.channel import Explains
from hub.core.identity import ApiCaller
from hub.core.records import AttemptView, DeliveryFilter, DeliveryStory, Slice
from hub.core.scopes import Scope
from hub.core.story import explain
from hub.core.words import Told, Words, reason_told, state_told

router = APIRouter(prefix="/v1", tags=["deliveries"], route_class=HubRoute)

Reader = Annotated[ApiCaller, by_key(Scope.NOTIFICATIONS_READ)]
Whom = Annotated[UserId, Query(description="The person.")]


@router.get(
    "/notifications/{notification_id}/explain",
    operation_id="explainNotification",
    response_model=ExplanationShown,
)
async def explain_notification(hub: Hub, caller: Reader, notification_id: HubId, user: Whom) -> Response:
    """Say why a person did or did not get a notification: every step, try and receipt, in plain words."""
    message = await hub.directory.notification_message(caller.app, notification_id)
    return shown(await _explained(hub, caller, message, user))


@router.get("/messages/{message_id}/explain", operation_id="explainMessage", response_model=ExplanationShown)
async def explain_message(hub: Hub, caller: Reader, message_id: HubId, user: Whom) -> Response:
    """Say why a person did or did not get a message, a chat message too."""
    return shown(await _explained(hub, caller, message_id, user))


@router.get("/users/{user_id}/story", operation_id="getUserStory", response_model=Listing[StepShown])
async def user_story(
    request: Request, hub: Hub, caller: Reader, user_id: PathUser, limit: Limit = 50, after: After = None
) -> Response:
    """Read everything that was tried for a person, newest first, with every state, try and receipt."""
    key = await user_of(hub, caller.app, user_id)
    page = await hub.directory.deliveries(caller.app, DeliveryFilter(user=key), page_of(limit, after))
    stories = await hub.directory.stories(caller.app, [delivery.id for delivery in page.items])
    told = Slice([stories[delivery.id] for delivery in page.items if delivery.id in stories], page.next)
    return listed(request, told, lambda story: _step(hub, story))


async def _explained(hub: Services, caller: ApiCaller, message: str, user: str) -> ExplanationShown:
    key = await user_of(hub, caller.app, user)
    person = await hub.directory.standing(caller.app, message, key)
    deliveries = person.deliveries if person is not None else ()
    stories = await hub.directory.stories(caller.app, [delivery.id for delivery in deliveries])
    found = explain(person)
    return ExplanationShown(
        message=message,
        user_id=user,
        verdict=found.verdict,
        sentence=_words(found.sentence),
        do=_words(found.do),
        queue_seq=None if person is None else person.queue_seq,
        steps=[_step(hub, stories[delivery.id]) for delivery in deliveries if delivery.id in stories],
    )


def _step(hub: Services, story: DeliveryStory) -> StepShown:
    view = story.delivery
    return StepShown(
        **delivery_shown(view).model_dump(),
        state_words=_words(state_told(view.state)),
        meaning=_meaning(reason_told(view.reason)),
        events=[
            StepEventShown(
                version=event.version,
                at=event.at,
                state=event.state,
                reason=event.reason,
                words=_words(_event_words(event.state, event.reason)),
            )
            for event in story.events
        ],
        tries=[_try(hub, view.channel, attempt) for attempt in story.attempts],
    )


def _event_words(state: str, reason: str | None) -> Words:
    told, words = reason_told(reason), state_told(state)
    if told is None:
        return words
    return Words(f"{words.zh}：{told.what.zh}", f"{words.en}: {told.what.en}")


def _try(hub: Services, channel: str, attempt: AttemptView) -> TryShown:
    return TryShown(
        number=attempt.number,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        outcome=attempt.outcome,
        reason=attempt.reason,
        provider_id=attempt.provider_id,
        detail=attempt.detail,
        code=attempt.code,
        meaning=_meaning(_code_told(hub, channel, attempt.code) or reason_told(attempt.reason)),
    )


def _code_told(hub: Services, channel: str, code: str) -> Told | None:
    """The provider's code in plain words, as the channel knows them."""
    found = hub.engine.channels.get(channel)
    if not code or not isinstance(found, Explains):
        return None
    chinese, english = found.explain(code, "zh-CN"), found.explain(code, "en")
    if chinese is None or english is None:
        return None
    return Told(Words(chinese.what, english.what), Words(chinese.do, english.do))


def _meaning(told: Told | None) -> MeaningShown | None:
    return None if told is None else MeaningShown(what=_words(told.what), do=_words(told.do))


def _words(words: Words) -> WordsShown:
    return WordsShown(zh=words.zh, en=words.en)
