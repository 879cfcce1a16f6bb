"""Where Redis is, as a URL says it: one server, a master that Sentinels know, or the nodes of a Cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

_SENTINEL_PORT: Final = 26_379
_PORT: Final = 6_379
_PLAIN: Final = ("redis", "rediss", "unix")
_FORMS: Final = (
    "redis://, rediss://, unix://, redis+sentinel://h1:26379,h2:26379/<master>/<db>, redis+cluster://h1:6379,h2:6379 "
    "(rediss+… for TLS)"
)


class Host(NamedTuple):
    """A name or address without brackets, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class OneServer:
    """A server that is always behind this URL."""

    url: str


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Sentinels that know where `master` is now. `login` is for Redis; the Sentinels' own is in `theirs`."""

    scheme: str
    hosts: tuple[Host, ...]
    master: str
    db: int
    login: str
    options: str
    theirs: str = ""

    def broker_url(self) -> str:
        """The same in kombu's spelling, which has the master's name elsewhere."""
        first = f"{self.login}@" if self.login else ""
        return ";".join(f"sentinel://{first}{host}/{self.db}" for host in self.hosts)

    def sentinel_login(self) -> dict[str, str]:
        """The Sentinels' own login, as redis-py takes it."""
        user, _, password = self.theirs.partition(":")
        return {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}

    def master_url(self, host: Host) -> str:
        """The URL of the master that is at this host now."""
        return _url(self.scheme, self.login, host, f"/{self.db}", self.options)

    def sentinel_url(self, host: Host) -> str:
        """The URL of a Sentinel."""
        return _url(self.scheme, self.theirs, host, "", self.options)


@dataclass(frozen=True, slots=True)
class ClusterNodes:
    """Some nodes of a Cluster; they know the others."""

    scheme: str
    hosts: tuple[Host, ...]
    login: str
    options: str

    def node_url(self, host: Host) -> str:
        """The URL of a node."""
        return _url(self.scheme, self.login, host, "", self.options)


RedisAddress: TypeAlias = OneServer | Sentinels | ClusterNodes


def read_address(url: str) -> RedisAddress:
    """What the URL says. Raises ValueError with a sentence that can be shown to who wrote it, without its password."""
    scheme, _, kind = urlsplit(url).scheme.partition("+")
    if not kind and scheme in _PLAIN:
        return OneServer(url)
    if scheme not in {"redis", "rediss"} or kind not in {"sentinel", "cluster"}:
        message = f"{urlsplit(url).scheme or url.partition('://')[0]}:// is no way to Redis; use {_FORMS}"
        raise ValueError(message)
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    if kind == "cluster":
        if parts.path.strip("/") not in {"", "0"}:
            message = f"a Redis Cluster has the one database 0, not {parts.path!r}"
            raise ValueError(message)
        return ClusterNodes(scheme, _hosts(hosts, _PORT), login, parts.query)
    master, db = _master(parts.path)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user, password = options.pop("sentinel_username", ""), options.pop("sentinel_password", "")
    theirs = f"{user}:{password}" if password else ""
    return Sentinels(
        scheme, _hosts(hosts, _SENTINEL_PORT), master, db, login, urlencode(options), _quoted(theirs)
    )


def _quoted(login: str) -> str:
    """`user:password` as it may stand in a URL."""
    return ":".join(quote(part, safe="") for part in login.split(":", 1))


def _master(path: str) -> tuple[str, int]:
    master, _, db = path.strip("/").partition("/")
    if not master:
        message = "behind the Sentinels stands the name of the master: redis+sentinel://h1:26379,h2:26379/<master>/<db>"
        raise ValueError(message)
    if db and not db.isdecimal():
        message = f"the database behind the master's name is a number, not {db!r}"
        raise ValueError(message)
    return master, int(db or 0)


def _hosts(text: str, port: int) -> tuple[Host, ...]:
    hosts = tuple(_host(part, port) for part in text.split(",") if part)
    if not hosts:
        message = "no host is given"
        raise ValueError(message)
    return hosts


def _host(text: str, port: int) -> Host:
    name, colon, digits = text.rpartition(":")
    if not colon or text.endswith("]"):
        name, digits = text, str(port)
    if not digits.isdecimal() or not 0 < int(digits) < 65_536:
        message = f"{text!r} is no host with a port between 1 and 65535"
        raise ValueError(message)
    name = name.removeprefix("[").removesuffix("]")
    if not name:
        message = f"{text!r} has no host"
        raise ValueError(message)
    return Host(name, int(digits))


def _url(scheme: str, login: str, host: Host, path: str, options: str) -> str:
    return f"{scheme}://{login + '@' if login else ''}{host}{path}{'?' + options if options else ''}"
