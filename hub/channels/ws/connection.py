"""One open socket: bytes in, messages out to the gateway; prebuilt frames in, bytes out to the transport.

An instance lives as long as its connection and there are tens of thousands: slots only, no task, no timer, no
queue, and no buffer while nothing is under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from hub.channels.ws import codes
from hub.channels.ws.codes import Parting
from hub.channels.ws.frames import bye_frame
from hub.channels.ws.wire import Op, Parser, Violation, close_code, close_frame, pong_frame, ws_frame

if TYPE_CHECKING:
    from hub.channels.ws.seats import Seat
    from hub.channels.ws.session import Session

_PENDING: Final = 65_536
"""Bytes gathered for one write; more are written at once, so that the transport can say when it is full."""
_TEXT, _BINARY, _CLOSE, _PING = int(Op.TEXT), int(Op.BINARY), int(Op.CLOSE), int(Op.PING)


class Gateway(Protocol):
    """What a connection tells, always from within the event loop. Nothing here may raise."""

    def received(self, link: Connection, data: bytes) -> None:
        """A text message, valid UTF-8."""
        ...

    def noise(self, link: Connection) -> None:
        """A control frame or a part of a message: nothing to answer, but not for nothing either."""
        ...

    def violated(self, link: Connection, parting: Parting, detail: str) -> None:
        """The rules of the wire were broken; nothing more will be read. The gateway must end the connection."""
        ...

    def full(self, link: Connection) -> None:
        """The socket's buffer has passed its bound."""
        ...

    def drained(self, link: Connection) -> None:
        """The socket's buffer is nearly empty again."""
        ...

    def closing(self, link: Connection) -> None:
        """A close frame was sent; whoever does not answer it in time must be cut off."""
        ...

    def lost(self, link: Connection) -> None:
        """The connection is gone."""
        ...

    def going_down(self) -> None:
        """The server wants to stop. Called once for each connection."""
        ...


class Connection(asyncio.Protocol):
    """A WebSocket after its handshake."""

    __slots__ = (
        "_gateway",
        "_held",
        "_out",
        "_out_bytes",
        "_parser",
        "_siblings",
        "closed",
        "expires",
        "full_since",
        "opened",
        "seat",
        "session",
        "silence",
        "transport",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        gateway: Gateway,
        siblings: set[Any],
        session: Session,
        *,
        limit: int,
        opened: float,
    ) -> None:
        self.transport = transport
        self.session = session
        self.seat: Seat | None = None
        self.closed = False
        """A close frame was sent or the connection is gone: what is written now goes nowhere."""
        self.silence = 0
        """Rounds of the sweep since anything was heard."""
        self.opened = opened
        self.expires = 0.0
        self.full_since = 0.0
        self._gateway = gateway
        self._siblings = siblings
        self._parser: Parser | None = Parser(limit)
        self._held = False
        self._out: list[bytes] | None = None
        self._out_bytes = 0
        siblings.add(self)

    # In

    def data_received(self, data: bytes) -> None:
        """Bytes from the socket."""
        self.silence = 0
        parser = self._parser
        if parser is None:
            return
        parser.feed(data)
        if not self._held:
            self._read(parser)

    def _read(self, parser: Parser) -> None:
        try:
            while not self._held and (frame := parser.next()) is not None:
                self._take(*frame)
        except Violation as error:
            self._parser = None
            if not self.closed:
                parting = codes.OF_VIOLATION.get(error.code, codes.PROTOCOL_ERROR)
                self._gateway.violated(self, parting, error.reason)

    def _take(self, opcode: int, payload: bytes) -> None:
        if self.closed:
            if opcode == _CLOSE:
                self.transport.close()
        elif opcode == _TEXT:
            self._gateway.received(self, payload)
        elif opcode == _CLOSE:
            code = close_code(payload)
            self._parser = None
            self._end(close_frame(code))
            self.transport.close()
        elif opcode == _BINARY:
            self._parser = None
            self._gateway.violated(self, codes.BINARY, "this subprotocol speaks text")
        else:
            if opcode == _PING and not self.session.paused:
                self.write(pong_frame(payload))
            self._gateway.noise(self)

    def hold(self) -> None:
        """Read nothing more until release()."""
        self._held = True
        self.transport.pause_reading()

    def release(self, *, limit: int) -> None:
        """Read on, with messages of up to `limit` bytes from now on."""
        self._held = False
        if self.closed or self._parser is None:
            return
        self._parser.limit = limit
        self.transport.resume_reading()
        self._read(self._parser)

    # Out

    def write(self, frame: bytes) -> None:
        """Write a complete frame (or several), after those that are gathered."""
        if self._out is not None:
            self._out.append(frame)
        elif not self.closed:
            self.transport.write(frame)

    def gather(self, frame: bytes) -> bool:
        """Keep a frame for the next flush(). True for the first one since the last."""
        out = self._out
        if out is None:
            self._out = [frame]
            self._out_bytes = len(frame)
            return True
        out.append(frame)
        self._out_bytes += len(frame)
        if self._out_bytes > _PENDING:
            self.flush()
            self._out = []
            self._out_bytes = 0
        return False

    def flush(self) -> None:
        """Write what was gathered, at once."""
        out, self._out = self._out, None
        if out and not self.closed:
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def send(self, payload: bytes) -> None:
        """Write the JSON of a frame."""
        self.write(ws_frame(payload))

    def bye(self, parting: Parting, *, retry_after_s: float | None = None) -> None:
        """Say why, and close. Harmless when closed already."""
        if self.closed:
            return
        self.flush()
        goodbye = ws_frame(bye_frame(parting, retry_after_s=retry_after_s))
        self._end(goodbye + close_frame(parting.code, parting.reason))

    def linger(self) -> None:
        """After a broken rule: say no more, but read (and forget) what still comes, because a socket closed with
        unread bytes is reset, and a reset may overtake the close frame."""
        self._parser = None
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _end(self, last: bytes) -> None:
        self.flush()
        self.transport.write(last)
        self.closed = True
        if self._held:
            self._held = False
            self.transport.resume_reading()
        self._gateway.closing(self)

    def abort(self) -> None:
        """Cut the connection; what was not written is lost."""
        self.closed = True
        self.transport.abort()

    @property
    def backlog(self) -> int:
        """Bytes that the socket has not taken yet."""
        return 0 if self.closed else self.transport.get_write_buffer_size()

    # What the event loop and the server say

    def pause_writing(self) -> None:
        """The transport's buffer has passed its high-water mark."""
        self.session.pause()
        self._gateway.full(self)

    def resume_writing(self) -> None:
        """The transport's buffer has fallen below its low-water mark."""
        self._gateway.drained(self)

    def eof_received(self) -> None:
        """The peer went without a close frame: the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The end, whoever wanted it."""
        self.closed = True
        self._parser = None
        self._out = None
        self._siblings.discard(self)
        self._gateway.lost(self)

    def shutdown(self) -> None:
        """uvicorn stops; it waits for its connections to go."""
        self._gateway.going_down()
