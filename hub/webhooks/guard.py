"""Where the hub may post to: public addresses only, so that an endpoint's URL cannot make it talk to its neighbours."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from hub.core.errors import Refused

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""(name, port) to addresses as text. Raises OSError for a name that is not known."""

_MAX_URL: Final = 2_048
_LOW_PORTS: Final = frozenset({80, 443})
_HIGH_PORTS: Final = 1_024
_SCHEME_PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
# `2130706433`, `0x7f.1` and `0177.0.0.1` are addresses to some resolvers: only the usual spelling is taken.
_LOOKS_LIKE_A_NUMBER: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?")
_NOT_PUBLIC: Final = ("localhost", "local", "internal", "localdomain", "home.arpa", "intranet", "lan")
_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
# Beside what Python calls private: shared address space (carriers, and some clouds' metadata), relays, benchmarks,
# documentation, IPv4-compatible, and the whole of multicast and reserved.
_FORBIDDEN: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "168.63.129.16/32",  # Azure's metadata and DNS
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/3",
        "::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
        "ff00::/8",
    )
)


class Forbidden(OSError):
    """The name stands for nothing that the hub may connect to. An OSError, as a resolver's faults are."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public network, whatever it is wrapped in (IPv4 in IPv6, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
    if any(address in network for network in _FORBIDDEN if network.version == address.version):
        return False
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that this one stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64[0]:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


class Guard:
    """Says where the hub may go. `allow` (networks, addresses and names, for development and for hubs that post into
    their own network) is let through, over plain HTTP and on any port too. Raises ValueError for an entry that is
    none of these."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._names: set[str] = set()
        for entry in allow:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                if not _NAME.fullmatch(entry.lower()) or "/" in entry:
                    message = f"HUB_WEBHOOK_ALLOW: {entry!r} is no network, address or host name"
                    raise ValueError(message) from None
                self._names.add(entry.lower().rstrip("."))

    def check_url(self, url: str) -> None:
        """Raises Refused webhook_url_refused. Looks nothing up: a name is checked whenever it is used."""
        host, parts = self._split(url)
        address = _address_of(host)
        known = self.allows_name(host) or (address is not None and self._listed(address))
        if parts.scheme != "https" and not known:
            raise _refused("The URL must begin with https://.")
        if not known and not _port_allowed(_port_of(parts)):
            raise _refused("The port must be 80, 443 or above 1023.")
        if address is not None:
            if not self.allows(address):
                raise _refused("The address is not a public one.")
        elif not self.allows_name(host):
            _check_name(host)

    def allows(self, address: Address) -> bool:
        """Whether the hub may connect to this very address."""
        return self._listed(address) or is_public(address)

    def allows_name(self, host: str) -> bool:
        """Whether a name is let through, wherever it leads."""
        return host.lower().rstrip(".") in self._names

    def allowed_of(self, host: str, found: Sequence[str]) -> list[str]:
        """Those of a name's addresses that may be connected to. Raises Forbidden where there is none."""
        any_will_do = self.allows_name(host)
        good = [text for text in found if any_will_do or self._good(text)]
        if not good:
            message = "the name leads to no public address"
            raise Forbidden(message)
        return good

    def _good(self, text: str) -> bool:
        address = _address_of(text)
        return address is not None and self.allows(address)

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)

    def _split(self, url: str) -> tuple[str, SplitResult]:
        if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise _refused(f"A URL has at most {_MAX_URL} characters of ASCII, others percent-encoded.")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _refused("It is not a URL.") from None
        if parts.scheme not in _SCHEME_PORTS or not host or port == 0:
            raise _refused("The URL must be https:// with a host.")
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise _refused("A URL must not hold a user name or password: requests are signed instead.")
        if parts.fragment or "#" in url:
            raise _refused("A URL to post to has no fragment.")
        return host, parts


def _port_of(parts: SplitResult) -> int:
    return parts.port or _SCHEME_PORTS[parts.scheme]


def _port_allowed(port: int) -> bool:
    return port in _LOW_PORTS or port >= _HIGH_PORTS


def _address_of(host: str) -> Address | None:
    """The address that a host is written as; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _check_name(host: str) -> None:
    name = host.lower().rstrip(".")
    last = name.rpartition(".")[2]
    if not _NAME.fullmatch(name) or _LOOKS_LIKE_A_NUMBER.fullmatch(last):
        raise _refused("The host is neither a name nor an address as usually written.")
    if "." not in name or any(name == end or name.endswith(f".{end}") for end in _NOT_PUBLIC):
        raise _refused("The host is not a public name.")


def _refused(detail: str) -> Refused:
    return Refused("webhook_url_refused", detail)


class CheckedResolver(AbstractResolver):
    """Gives aiohttp only addresses that were checked, and aiohttp connects to these: a name that leads elsewhere at the
    next question changes nothing. Has threads of its own, so that slow name servers hold up nobody else."""

    def __init__(self, guard: Guard, *, lookup: Lookup | None = None, threads: int = 8) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-dns")
        self._lookup = lookup or self._ask_system

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name that may be connected to. Raises OSError."""
        good = self._guard.allowed_of(host, await self._lookup(host, port))
        kinds = [(text, socket.AF_INET6 if ":" in text else socket.AF_INET) for text in good]
        return [
            ResolveResult(
                hostname=host,
                host=text,
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for text, kind in kinds
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        def ask() -> Sequence[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(entry[4][0]) for entry in found))

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
