"""Addresses of servers: which names are one, which can be used, and what of one may be shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import parse_qsl, quote, urlsplit

from cenote.errors import BadInput

# What an address keeps of a path: the rest, such as a space or an accent, is written as % and its number.
_PATH = "/%:@!$&'()*+,;=~"
_QUERY = f"{_PATH}?"
# Shorter values of a query, such as `v=1`, hold no key, and hiding them would spoil what the server says.
_SHORTEST_SECRET = 6


def is_address(name: str) -> bool:
    """Return whether a name is the address of a server.

    >>> is_address("http://localhost:8080"), is_address("minilm")
    (True, False)
    """
    return name.lower().startswith(("http://", "https://"))


def is_local(url: str) -> bool:
    """Return whether an address is on this machine.

    >>> is_local("http://localhost:8080"), is_local("http://127.0.0.2"), is_local("https://api.example.com")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def shown(url: str) -> str:
    """Return an address without what may hold a key: its query, its fragment, a user name and a password.

    >>> shown("https://me:secret@api.example.com/v1?api_key=secret")
    'https://api.example.com/v1'
    """
    place = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def secrets_of(url: str) -> list[str]:
    """Return the values in the query of an address that may be keys.

    >>> secrets_of("https://api.example.com/v1?version=3&api_key=se%2Fcret")
    ['se/cret', 'se%2Fcret']
    """
    query = urlsplit(url).query
    plain = [value for _, value in parse_qsl(query)]
    written = [part.partition("=")[2] for part in query.split("&")]
    return [value for value in dict.fromkeys((*plain, *written)) if len(value) >= _SHORTEST_SECRET]


def split_address(url: str) -> str:
    """Return the address of a server in its plain form; raise `BadInput` for one that cannot be used.

    >>> split_address("http://localhost:8080/")
    'http://localhost:8080'
    >>> split_address("http://localhost/my modèle")
    'http://localhost/my%20mod%C3%A8le'
    """
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname
        plain = _plain_host(host or "")
    except ValueError as error:  # also a UnicodeError
        raise BadInput(f"{shown(url)!r} is no address: {error}. Write http://HOST:PORT.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput(f"{shown(url)!r} is no address of a server: write http://HOST:PORT or https://HOST.")
    place = f"{parts.scheme}://{plain}{'' if port is None else f':{port}'}{quote(parts.path, _PATH).rstrip('/')}"
    if parts.username or parts.password:
        raise BadInput(
            f"the address {place!r} holds a user name or a password: put the key into an environment variable, and "
            "name that with --key-variable (key_variable=)."
        )
    return place + (f"?{quote(parts.query, _QUERY)}" if parts.query else "")


def _plain_host(host: str) -> str:
    """Return a host as the network writes it; raise `ValueError` for a name that no host can have."""
    if ":" in host:  # IPv6
        return f"[{host}]"
    if not host.isprintable() or " " in host:
        raise ValueError(f"a host cannot have a blank: {host!r}")
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"no host can be named {host!r}") from error
