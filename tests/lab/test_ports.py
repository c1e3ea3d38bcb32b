"""Ports that labs are given: nobody else's, and none of those that a kernel gives."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.ports import free_ports, is_free


def test_no_port_is_given_twice_however_many_ask() -> None:
    with ThreadPoolExecutor(8) as pool:
        given = [port for found in pool.map(lambda _: free_ports(3), range(40)) for port in found]
    assert len(set(given)) == 120


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    port = free_ports(1)[0]
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not is_free(port)


def test_no_outgoing_connection_takes_a_port_that_was_given() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free_ports(5)) < first
