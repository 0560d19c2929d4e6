"""Connections to servers on this machine, which `no_network` refuses as it does all others."""

import socket


def allow_loopback(monkeypatch):
    """Allow connections to this machine, and no others."""
    refuse_connect, refuse_lookup = socket.socket.connect, socket.getaddrinfo

    def connect(self, address):
        if self.family == socket.AF_INET and address[0] == "127.0.0.1":
            return super(socket.socket, self).connect(address)
        return refuse_connect(self, address)

    def look_up(host, port, *args, **kwargs):
        if host in ("127.0.0.1", "localhost"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]
        return refuse_lookup(host, port, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
