"""What an event of WeChat sets in motion."""

from __future__ import annotations

from typing import assert_never

from hub.channels._wechat.consents import Consents
from hub.channels._wechat.events import (
    Event,
    Followed,
    OtherEvent,
    Scanned,
    SubscribeAnswered,
    SubscribeChanged,
    SubscribeSent,
    TemplateJobFinished,
    Unfollowed,
)
from hub.channels._wechat.followers import Followers
from hub.channels._wechat.receipts import Receipts
from hub.core.accounts import Account


class Intake:
    """A few SQL statements an event, and nothing is asked of WeChat meanwhile: it waits for five seconds only."""

    def __init__(self, *, receipts: Receipts, consents: Consents, followers: Followers) -> None:
        self._receipts = receipts
        self._consents = consents
        self._followers = followers

    async def act(self, account: Account, event: Event) -> None:
        """Twice is as good as once. Raises errors.Unavailable: then WeChat must send it again."""
        match event:
            case TemplateJobFinished():
                await self._receipts.job_finished(account, event)
            case SubscribeSent():
                await self._receipts.subscribe_sent(account, event)
            case SubscribeAnswered():
                await self._consents.answered(account, event)
            case SubscribeChanged():
                await self._consents.changed(account, event)
            case Followed():
                await self._followers.followed(account, event)
            case Scanned():
                await self._followers.scanned(account, event)
            case Unfollowed():
                await self._followers.unfollowed(account, event)
            case OtherEvent():
                pass  # what people write to the account is for whoever answers there
            case _:
                assert_never(event)
