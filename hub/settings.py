"""Every setting of the hub, read once from the environment (prefix `HUB_`) and passed on as a value."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hub.redis_address import ClusterNodes, Sentinels, read_address
from hub.roles import Role


def _seconds(value: object) -> object:
    """A plain number in the environment is seconds; pydantic itself takes text for ISO 8601 only."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _words(value: object) -> object:
    """Lists in the environment are separated by commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Duration = Annotated[timedelta, BeforeValidator(_seconds)]
Seconds = Annotated[Duration, Field(gt=timedelta(0))]

# A Unix socket's path may have 108 bytes on Linux and 104 on macOS.
SOCKET_PATH_LIMIT = 100


class Settings(BaseSettings):
    """Durations are seconds (or ISO 8601, `PT10S`) in the environment and `timedelta` in code."""

    model_config = SettingsConfigDict(env_prefix="HUB_", extra="ignore", frozen=True)

    # Where things are. Empty URLs mean the embedded defaults under `data_dir`.
    data_dir: Path = Path("data")
    database_url: str = ""
    redis_url: str = ""
    broker_url: str = ""
    # With `sentinel://` as broker: the name of the master that the Sentinels watch.
    broker_master: str = ""
    # Connections that one process keeps to the database, and how many more it may open under load.
    database_pool: Annotated[int, Field(ge=1)] = 5
    database_overflow: Annotated[int, Field(ge=0)] = 5
    # One statement or transaction takes at most this long; then the store is called unavailable.
    database_timeout: Seconds = timedelta(seconds=10)
    # FULL: what was committed survives a power cut. NORMAL is faster, and survives the death of the process only.
    sqlite_synchronous: Annotated[str, Field(pattern="^(FULL|NORMAL|EXTRA)$")] = "FULL"
    # What this process does: `api` (REST, console), `gateway` (sockets, pulling) or `all`.
    role: Role = Role.ALL
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    # Where WeChat and people's browsers reach this hub (`https://hub.example.com`); empty is where it listens.
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s?#]+)?$")] = ""
    log_level: str = "INFO"
    log_json: bool = False

    # Encrypts secrets at rest and signs nothing else: 32 bytes, URL-safe base64. `./run` makes one per data folder.
    secret_key: SecretStr = SecretStr("")

    # Group commit: what arrives within `batch_window` is one batch of at most `batch_size` drafts.
    batch_window: Duration = timedelta(milliseconds=2)
    batch_size: Annotated[int, Field(ge=1, le=5_000)] = 256
    # Drafts waiting for a batch; past it a sender is told to come back (bounded memory under a slow database).
    ingest_backlog: Annotated[int, Field(ge=1)] = 20_000
    # A request waits at most this long for its commit before it is answered "unavailable, try again".
    commit_timeout: Seconds = timedelta(seconds=10)

    # Members above which a conversation is read-diffused (no reference per member).
    fanout_limit: Annotated[int, Field(ge=2, le=5_000)] = 500
    # Members that a group or a thread may have; a group's own `max_members` can only be lower.
    group_limit: Annotated[int, Field(ge=2)] = 200_000
    # References kept in Redis per user, and for how long after the last use.
    tail_size: Annotated[int, Field(ge=16, le=128)] = 128
    tail_ttl: Seconds = timedelta(hours=6)
    # A missing sequence number older than this is closed by a tombstone.
    gap_grace: Seconds = timedelta(seconds=3)
    # Committed for this long without having been published: published again.
    republish_after: Seconds = timedelta(seconds=2)
    # After a Redis restart or failover, everything committed since this long before is published again.
    republish_margin: Seconds = timedelta(seconds=30)
    # Where messages live: `sql`, or `redis` (plan 1), where the next three bound what Redis keeps: references in a
    # user's queue, those in its overflow list, and messages of a conversation's history.
    store: Literal["sql", "redis"] = "sql"
    queue_capacity: Annotated[int, Field(ge=16, le=10_000)] = 120
    queue_overflow: Annotated[int, Field(ge=0, le=1_000_000)] = 5_000
    history_capacity: Annotated[int, Field(ge=100, le=10_000_000)] = 10_000
    idempotency_ttl: Seconds = timedelta(hours=24)
    # How long after sending it a user may take a message back, or change it; 0 not at all. Who runs a group, and the
    # business system, may take messages back at any time.
    recall_window: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(minutes=2)
    edit_window: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(hours=24)
    # Messages older than this are removed with their references; empty (None) keeps them for ever.
    retention: Annotated[timedelta | None, BeforeValidator(_seconds)] = None

    # Where uploaded files are: a folder (empty: `media` under `data_dir`) or s3+https://key:secret@host/bucket?region=…
    media_url: SecretStr = SecretStr("")
    media_max_bytes: Annotated[int, Field(ge=1)] = 104_857_600
    # A file that no message shows is removed after this time; signed links to files hold for `media_link_ttl`.
    media_unused: Seconds = timedelta(hours=24)
    media_link_ttl: Annotated[Seconds, Field(le=timedelta(days=7))] = timedelta(minutes=10)

    # REST. A request's body; lists of at most 500 notifications or users fit.
    request_max_bytes: Annotated[int, Field(ge=1_024)] = 4_194_304
    # Requests a second (twice as many at once) of one API key, one end user, and failed logins of one address, as
    # counted by each process; 0 does not limit.
    rate_key: Annotated[int, Field(ge=0)] = 10_000
    rate_user: Annotated[int, Field(ge=0)] = 50
    rate_failures: Annotated[int, Field(ge=0)] = 20
    # Origins of browsers that may call the REST API with a user's token (`https://app.example.com`); none by default.
    cors_origins: Words = ()
    token_ttl: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(hours=24))] = timedelta(hours=1)

    # Sockets.
    hello_timeout: Seconds = timedelta(seconds=5)
    heartbeat: Seconds = timedelta(seconds=30)
    ws_max_frame: Annotated[int, Field(ge=1_024, le=16_777_216)] = 262_144
    body_max_bytes: Annotated[int, Field(ge=256, le=1_048_576)] = 65_536
    # Bytes waiting in one socket: past the first the hub stops pushing bodies, past the second it says bye.
    slow_soft_bytes: Annotated[int, Field(ge=4_096)] = 262_144
    slow_hard_bytes: Annotated[int, Field(ge=8_192)] = 2_097_152
    frames_per_second: Annotated[int, Field(ge=1)] = 200
    sessions_per_platform: Annotated[int, Field(ge=1)] = 5
    session_overflow: Annotated[str, Field(pattern="^(replace|refuse)$")] = "replace"
    max_connections: Annotated[int, Field(ge=1)] = 50_000
    # Hellos looked up at once, those that may wait for their turn, and for how long; past it they are told when to
    # come back. `catchup_concurrency`: queues read at once for sockets that are behind.
    hello_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 128
    hello_backlog: Annotated[int, Field(ge=0)] = 10_000
    hello_patience: Seconds = timedelta(seconds=10)
    catchup_concurrency: Annotated[int, Field(ge=1, le=1_000)] = 32
    # Pulling over HTTP: how long one request may wait for news, and how many may wait at once for one user (on each
    # node) and in one process.
    poll_wait: Seconds = timedelta(seconds=55)
    polls_per_user: Annotated[int, Field(ge=1)] = 10
    max_polls: Annotated[int, Field(ge=1)] = 20_000
    ws_origins: Words = ()
    drain_timeout: Seconds = timedelta(seconds=5)

    # Presence.
    node_lease: Seconds = timedelta(seconds=6)
    grace_app: Duration = timedelta(seconds=2)
    grace_web: Duration = timedelta(seconds=4)

    # WeChat. Where the pages of WeChat are that a person opens (login, QR pictures); the sandbox has its own.
    wechat_open: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] = "https://open.weixin.qq.com"
    # Origins (`https://app.example.com`) to which a browser may be sent back after it proved who it is at WeChat,
    # beside paths of the hub's own.
    return_origins: Words = ()

    # Webhooks. Networks, addresses and host names that may be posted to although they are not public.
    webhook_allow: Words = ()
    # One try takes at most this long.
    webhook_timeout: Annotated[
        timedelta, Field(gt=timedelta(0), le=timedelta(seconds=30)), BeforeValidator(_seconds)
    ] = timedelta(seconds=15)
    # Events older than this are removed with their deliveries; replay goes back no further.
    webhook_retention: Seconds = timedelta(days=14)

    # Deliveries through Celery.
    delivery_lease: Seconds = timedelta(seconds=120)
    delivery_batch: Annotated[int, Field(ge=1, le=1_000)] = 100
    # `./run` alone: start the WeChat sandbox and take it for WeChat, unless `wechat_api` is set.
    sandbox: bool = True
    visibility_timeout: Seconds = timedelta(seconds=900)

    # WeChat. One call: to connect, each silence after it, and all of it, waiting for a connection included.
    wechat_api: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] = "https://api.weixin.qq.com"
    wechat_connect_timeout: Seconds = timedelta(seconds=3)
    wechat_read_timeout: Seconds = timedelta(seconds=5)
    wechat_timeout: Seconds = timedelta(seconds=8)
    # What WeChat has not told of within this time after a send that may have arrived, did not arrive.
    wechat_receipt_within: Seconds = timedelta(minutes=10)
    # Sends under way at once in one process, and sends a second of an account (all processes together, each API).
    wechat_concurrency: Annotated[int, Field(ge=1, le=1_000)] = 100
    wechat_pace: Annotated[int, Field(ge=1)] = 100

    @model_validator(mode="after")
    def _the_second_bound_is_above_the_first(self) -> Self:
        if self.slow_hard_bytes <= self.slow_soft_bytes:
            message = "HUB_SLOW_HARD_BYTES must be above HUB_SLOW_SOFT_BYTES"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _redis_is_somewhere(self) -> Self:
        try:
            address = read_address(self.redis)
        except ValueError as error:
            message = f"HUB_REDIS_URL: {error}"
            raise ValueError(message) from None
        if isinstance(address, ClusterNodes) and not self.broker_url:
            message = (
                "HUB_BROKER_URL is needed with a Redis Cluster, which Celery cannot use: "
                "give a standalone Redis, Sentinel or RabbitMQ"
            )
            raise ValueError(message)
        if "cluster" in self.broker_url.partition("://")[0]:
            message = (
                "HUB_BROKER_URL: Celery's Redis transport cannot use a Redis Cluster; "
                "give a standalone Redis, Sentinel or RabbitMQ"
            )
            raise ValueError(message)
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy async URL: what was set, else SQLite in the data folder."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'hub.db'}"

    @property
    def redis(self) -> str:
        """The Redis URL: what was set, else the embedded engine's private socket."""
        return self.redis_url or f"unix://{quote(str(self.embedded_socket))}"

    @property
    def broker(self) -> str:
        """Celery's broker URL: what was set, else the same Redis, in kombu's spelling."""
        if self.broker_url:
            return self.broker_url
        match read_address(self.redis):
            case Sentinels() as sentinels:
                return sentinels.broker_url()
            case _:
                url = self.redis
        return f"redis+socket://{url.removeprefix('unix://')}" if url.startswith("unix://") else url

    @property
    def broker_options(self) -> dict[str, object]:
        """What kombu's `sentinel://` must be told beside the URL: the master's name, and the Sentinels' own login."""
        if self.broker_master:
            return {"master_name": self.broker_master}
        match read_address(self.redis):
            case Sentinels() as sentinels if not self.broker_url:
                return {"master_name": sentinels.master, "sentinel_kwargs": sentinels.sentinel_login()}
            case _:
                return {}

    @property
    def broker_tls(self) -> bool:
        """Whether kombu must be told to use TLS to the master: the scheme `sentinel://` cannot say it."""
        match read_address(self.redis):
            case Sentinels(scheme="rediss") if not self.broker_url:
                return True
            case _:
                return False

    @property
    def public(self) -> str:
        """The address of this hub for others, without a slash at the end: what was set, else where it listens."""
        host = "127.0.0.1" if self.host in {"", "0.0.0.0", "::"} else self.host  # noqa: S104  compared, not bound
        shown = f"[{host}]" if ":" in host else host
        return self.public_url.rstrip("/") or f"http://{shown}:{self.port}"

    @property
    def embedded_socket(self) -> Path:
        """Where the embedded engine listens; the same answer in every process with this data folder."""
        socket = self.data_dir.resolve() / "redis" / "hub.sock"
        if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT:
            return socket
        name = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
        # Not tempfile.gettempdir(): TMPDIR may be long too, and may differ between two terminals.
        return Path("/tmp") / f"hub-{os.getuid()}-{name}" / "hub.sock"  # noqa: S108
