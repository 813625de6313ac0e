"""Requests that name another host are refused where nobody needs a password: a stranger's page may have sent them."""

from __future__ import annotations

import socket

import bcrypt
import pytest
from support.browsing import basic, site
from support.published import published

from gcd.web import hosts
from gcd.web.listening import host_of

PATHS = ("/", "/metrics", "/api/v1/findings", "/-/healthy", "/-/ready", "/none")


@pytest.fixture(autouse=True)
def resolver(monkeypatch):
    """This host is tower.example.org; how often its full name was asked for."""
    asked = []
    monkeypatch.setattr(socket, "gethostname", lambda: "Tower")
    monkeypatch.setattr(socket, "getfqdn", lambda: asked.append(1) or "Tower.example.org")
    return asked


@pytest.fixture
def served():
    with site(published()) as one:
        yield one


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9871",
        "192.0.2.1",
        "[::1]:9871",
        "[2001:db8::1]",
        "localhost",
        "LOCALHOST:9871",
        "tower",
        "TOWER:9871",
        "tower.example.org:9871",
        "Tower.Example.Org.",
        "",
    ],
)
def test_this_host_is_asked_by_its_addresses_and_names(served, host):
    assert served.get("/metrics", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9871",
        "tower.evil.example",
        "evil.tower.example.org",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "[evil.example]",
        "example.org",
        "é",
    ],
)
def test_other_names_are_misdirected(served, host):
    answer = served.get("/metrics", host=host.encode().decode("latin-1"))

    assert (answer.status, answer.body) == (
        421,
        b"ask by an address or a name of this host; other names are only answered where web.users are set\n",
    )


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_told_to_them(served, path):
    assert served.get(path, host="evil.example").status == 421


def test_who_says_no_host_is_no_browser(served):
    assert served.said_to(b"GET /-/ready HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_the_name_that_it_listens_by(monkeypatch):
    lookup = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **rest: lookup("127.0.0.1", *more, **rest))

    with site(published(), listen_address="Metrics.Lan:0") as served:
        assert served.get("/metrics", host="metrics.lan:9871").status == 200
        assert served.get("/metrics", host="evil.lan:9871").status == 421


@pytest.mark.parametrize(
    ("address", "host"),
    [(":9871", ""), ("metrics.lan:9871", "metrics.lan"), ("[::1]:9871", "::1"), ("127.0.0.1:9871", "127.0.0.1")],
)
def test_the_host_of_an_address(address, host):
    assert host_of(address) == host


def test_with_users_any_name_goes():
    users = {"prometheus": bcrypt.hashpw(b"scrape me", bcrypt.gensalt(4)).decode()}

    with site(published(), users=users) as served:
        authorization = basic("prometheus", "scrape me")
        assert served.get("/metrics", host="evil.example", authorization=authorization).status == 200
        assert served.get("/-/healthy", host="evil.example").status == 200


def test_the_full_name_is_not_asked_for_each_time(served, resolver, monkeypatch):
    for _ in range(5):
        served.get("/metrics", host="evil.example")
        served.get("/metrics", host="tower")
    assert len(resolver) == 1

    monkeypatch.setattr(hosts, "FRESH_SECONDS", 0)
    monkeypatch.setattr(socket, "getfqdn", lambda: "tower.new.example")
    assert served.get("/metrics", host="tower.new.example").status == 200
