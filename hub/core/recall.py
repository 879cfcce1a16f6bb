"""Taking a notification back: what had not left stays, the message disappears from the app, and the truth about the
rest is told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from hub.core.bodies import RECALL
from hub.core.channel import Lane, Registry
from hub.core.control import INBOX, CancelReport, RecallLine, RecallReport, RecallResult
from hub.core.conversation import inbox_id
from hub.core.delivery import Delivery, DeliveryState
from hub.core.dispatch import Dispatcher
from hub.core.errors import NotFound
from hub.core.message import (
    SYSTEM,
    Accepted,
    AppId,
    Draft,
    MessageId,
    NotificationId,
    Recalled,
    ToConversation,
    ToInbox,
)
from hub.core.outcome import Reason
from hub.core.ports import Clock, DeliveryStore, MessageStore, NewId, NotificationRow
from hub.core.scheduling import Appointments


class Recall:
    """Cancel: nothing more is sent. Recall: that, and what was sent disappears where it can."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        messages: MessageStore,
        dispatcher: Dispatcher,
        appointments: Appointments,
        channels: Registry,
        submit: Callable[[Draft], Awaitable[Accepted]],
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._deliveries = deliveries
        self._messages = messages
        self._dispatcher = dispatcher
        self._appointments = appointments
        self._channels = channels
        self._submit = submit
        self._clock = clock
        self._new_id = new_id

    async def cancel(self, app: AppId, id_: NotificationId, reason: Reason) -> CancelReport:
        """Nothing more is sent for it; the message stays in the app. Raises NotFound."""
        if await self._appointments.cancel(app, id_):
            return CancelReport(id_, scheduled=True)
        await self._found(app, id_)
        rows = await self._dispatcher.cancel(app, id_, reason)
        return CancelReport(
            id_,
            canceled=sum(row.state is DeliveryState.CANCELED for row in rows),
            under_way=sum(row.state is DeliveryState.ATTEMPTING for row in rows),
            sent=sum(_sent(row) for row in rows),
        )

    async def recall(self, app: AppId, id_: NotificationId) -> RecallReport:
        """Nothing more is sent, the body is gone from the store, and every device is told. May be repeated. Raises
        NotFound."""
        if await self._appointments.cancel(app, id_):
            return RecallReport(id_, scheduled=True)
        found = await self._found(app, id_)
        rows = await self._dispatcher.cancel(app, id_, Reason.RECALLED)
        await self._submit(await self._notice(found))
        inline = self._channels.on_lane(Lane.INLINE)
        lines = [RecallLine(user, INBOX, RecallResult.RECALLED) for user in found.recipients]
        lines += [RecallLine(row.user, row.channel, _truth(row, inline), row.id) for row in _by_hop(rows)]
        return RecallReport(id_, lines=tuple(lines))

    async def _found(self, app: AppId, id_: NotificationId) -> NotificationRow:
        found = (await self._deliveries.notifications([id_])).get(id_)
        if found is None or found.app != app:
            raise NotFound("notification_not_found", "There is no such notification.")
        return found

    async def _notice(self, found: NotificationRow) -> Draft:
        """The control message, to whoever the notification went to: its commit takes the body out of the store."""
        bodies = await self._messages.messages([found.message])
        place = bodies[found.message].conversation if found.message in bodies else inbox_id(found.app)
        seq = bodies[found.message].seq if found.message in bodies else 0
        inbox = place == inbox_id(found.app)
        return Draft(
            id=MessageId(self._new_id("msg")),
            app=found.app,
            sender=SYSTEM,
            sender_id=None,
            to=ToInbox(found.recipients) if inbox else ToConversation(place),
            kind=RECALL,
            body=json.dumps({"message": found.message, "notification": found.id}),
            created_at=self._clock(),
            client_msg_id=f"recall:{found.id}",
            as_member=False,
            control=True,
            reply_to=found.message,
            change=Recalled(found.message, seq),
        )


def _sent(row: Delivery) -> bool:
    return row.state in (DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.UNKNOWN)


def _by_hop(rows: Sequence[Delivery]) -> list[Delivery]:
    return sorted(rows, key=lambda row: (row.user, row.hop))


def _truth(row: Delivery, inline: frozenset[str]) -> RecallResult:
    if row.state is DeliveryState.CANCELED:
        return RecallResult.CANCELED
    if row.channel in inline and _sent(row):
        return RecallResult.RECALLED
    if row.state is DeliveryState.ATTEMPTING:
        return RecallResult.UNDER_WAY
    return RecallResult.NOT_RECALLABLE if _sent(row) else RecallResult.NOT_SENT
