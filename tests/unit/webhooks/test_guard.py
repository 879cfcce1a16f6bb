"""The guard lets requests out to the public network only, however an address is written or wrapped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.errors import Refused
from hub.webhooks.guard import CheckedResolver, Forbidden, Guard, is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "100.63.0.1",
    "192.169.0.1",
    "2606:4700::1111",
    "2001:4860:4860::8888",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
WRAPPED_PUBLIC = ["::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]


@pytest.mark.parametrize("text", PUBLIC + WRAPPED_PUBLIC)
def test_public_addresses_are_let_through(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_no_other_address_is(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(Refused, match="webhook_url_refused"):
        Guard().check_url(f"https://{host}/hook")
    with pytest.raises(Forbidden):
        Guard().allowed_of("name.example", [text])


@given(st.ip_addresses(v=4))
def test_what_is_wrapped_is_judged_by_what_it_wraps(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for wrapped in ((0xFFFF << 32) + number, (0x64FF9B << 96) + number, (0x2002 << 112) + (number << 80)):
        assert is_public(ipaddress.IPv6Address(wrapped)) == is_public(address)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_is_let_through_is_global_unicast(address: ipaddress.IPv6Address) -> None:
    if is_public(address) and not address.ipv4_mapped and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert address in ipaddress.ip_network("2000::/3")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://oa.example.com/hooks?key=%E5%AF%86#".rstrip("#"),
        "https://EXAMPLE.com:8443/",
        "https://xn--fiqs8s.example/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]:443/x",
        "https://example.com./",
        "https://a_b.example.com/",
    ],
)
def test_urls_of_public_hosts_are_taken(url: str) -> None:
    Guard().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://example.com/",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com\\@127.0.0.1/",
        "https://exam ple.com/",
        "https://example.com/\r\nHost: x",
        "https://example.com/#part",
        "https://例子.example/",
        "https://example.com:0/",
        "https://example.com:22/",
        "https://example.com:1023/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://x.localhost/",
        "https://metadata.google.internal/",
        "https://printer.local/",
        "https://redis/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://127%2e0.0.1/",
        "https://[::1/",
        "https://-bad.example/",
        "https://bad..example/",
        "https://" + "a" * 64 + ".example/",
        "https://example.com/" + "a" * 2_048,
    ],
)
def test_everything_else_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(Refused) as refused:
        Guard().check_url(url)
    assert refused.value.code == "webhook_url_refused"
    assert "secret" not in refused.value.detail


def test_what_the_operator_allows_is_let_through_over_http_and_on_any_port() -> None:
    guard = Guard(["127.0.0.1/32", "10.0.0.0/8", "fd00::/8", "ERP.corp"])
    for url in (
        "http://127.0.0.1:81/",
        "https://10.9.8.7:22/",
        "http://[fd00::1]:8080/x",
        "http://erp.corp/hook",
        "https://erp.CORP.:81/",
    ):
        guard.check_url(url)
    for url in (
        "http://127.0.0.2/",
        "http://example.com/",
        "https://other.corp:81/",
        "http://[::ffff:127.0.0.1]/",
    ):
        with pytest.raises(Refused):
            guard.check_url(url)
    assert guard.allowed_of("x.example", ["127.0.0.1", "127.0.0.2", "1.1.1.1"]) == ["127.0.0.1", "1.1.1.1"]
    assert guard.allowed_of("erp.corp", ["192.168.0.1"]) == ["192.168.0.1"]


@pytest.mark.parametrize("entry", ["", "10.0.0.0/33", "http://x", "a b", "x/y"])
def test_an_allowance_that_means_nothing_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="HUB_WEBHOOK_ALLOW"):
        Guard([entry])


async def test_the_resolver_hands_out_checked_addresses_only() -> None:
    found = ["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111", "not an address"]

    async def lookup(host: str, port: int) -> Sequence[str]:
        return found

    resolver = CheckedResolver(Guard(), lookup=lookup)
    good = await resolver.resolve("name.example", 443)
    assert [(one["host"], one["port"], one["hostname"]) for one in good] == [
        ("1.1.1.1", 443, "name.example"),
        ("2606:4700::1111", 443, "name.example"),
    ]
    assert [one["host"] for one in await resolver.resolve("name.example", 443, socket.AF_INET)] == ["1.1.1.1"]
    found[:] = ["10.0.0.1"]
    with pytest.raises(OSError, match="no public address"):
        await resolver.resolve("name.example", 443)
    await resolver.close()


async def test_a_name_of_this_machine_leads_nowhere() -> None:
    resolver = CheckedResolver(Guard())
    with pytest.raises(Forbidden):
        await resolver.resolve("localhost", 443)
    await resolver.close()
