"""Whose page asks, and from where: what keeps other web sites from using a browser that can reach us.

A site can let its own name point to our address (DNS rebinding): then the Host that a browser sends is its
name, not ours. And a page of any site can make a browser send requests to us: then the Origin is that site's.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from crypto_tracker.config.web import Web

OTHER_PAGE = "a page of another site asks: open the page of this server itself"

_LOCAL = "localhost"
_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_loopback(address: str) -> bool:
    """Whether an address is this machine itself.

    >>> is_loopback("127.0.0.2"), is_loopback("::ffff:127.0.0.1"), is_loopback("192.168.1.2"), is_loopback("")
    (True, True, False, False)
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def counted_as(address: str) -> str:
    """By which address requests are counted: who has one IPv6 address has its whole /64.

    >>> counted_as("10.0.0.7"), counted_as("2001:db8:0:1:5:6:7:8")
    ('10.0.0.7', '2001:db8:0:1::')
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))


def name_in(host: str) -> str:
    """The name in a Host header: lower case, without its port and without brackets.

    >>> name_in("Localhost:8080"), name_in("[::1]:8080"), name_in("trade.example.org.")
    ('localhost', '::1', 'trade.example.org')
    """
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def is_our_host(host: str, settings: Web) -> bool:
    """Whether a Host header names this server: one of our names, or a plain address.

    No name points to a plain address, so no other site can stand behind one.
    """
    name = name_in(host)
    if name in {_LOCAL, settings.host.lower(), *(each.lower() for each in settings.hosts)}:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_our_origin(origin: str | None, host: str, settings: Web) -> bool:
    """Whether a page of ours asks, or no page at all; an opaque origin (`null`) is nobody's."""
    if origin is None:
        return True
    try:
        parts = urlsplit(origin.strip().lower())
    except ValueError:  # such as http://[
        return False
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    if parts.hostname in {each.lower() for each in settings.hosts}:
        return True  # behind a server that speaks TLS the Host may be rewritten, the Origin never is
    return parts.netloc == host.strip().lower()


def is_this_machine(address: str, headers: Mapping[str, str], version: str, settings: Web) -> bool:
    """Whether a request comes from this machine and was meant for it: what `open_to_loopback` lets in.

    A proxy on this machine makes everybody look local. One that says so in a header, that keeps the public
    name as Host, or that speaks HTTP/1.0, as nginx does unless it is told otherwise, is seen through; one
    that does none of this is not: where a proxy stands in front, nothing may be opened. What another site's
    page makes a browser send does not count either.
    """
    host = headers.get("host", "")
    return (
        is_loopback(address)
        and version != "1.0"
        and (name_in(host) == _LOCAL or is_loopback(name_in(host)))
        and not any(name in headers for name in _PROXIED)
        and is_our_origin(headers.get("origin"), host, settings)
        and headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    )
