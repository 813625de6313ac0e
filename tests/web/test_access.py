"""Names and passwords: who gets in, what guessing costs, and whom it keeps out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import bcrypt
import pytest
from support.browsing import basic, site
from support.published import published

from gcd.web import CannotListen, access
from gcd.web.access import Access, Verdict

USERS = {
    "prometheus": bcrypt.hashpw(b"scrape me", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    "jörg": bcrypt.hashpw("pässword".encode(), bcrypt.gensalt(4)).decode(),
    "long": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode(),
}
RIGHT = basic("prometheus", "scrape me")


@pytest.fixture
def guarded():
    with site(published(), users=USERS) as served:
        yield served


@pytest.fixture
def hashes(monkeypatch):
    """The passwords that were hashed."""
    hashed = []
    right = bcrypt.checkpw
    monkeypatch.setattr(access.bcrypt, "checkpw", lambda word, of: hashed.append(word) or right(word, of))
    return hashed


@pytest.mark.parametrize(
    "credentials",
    [
        RIGHT,
        RIGHT.replace("Basic", "BASIC"),
        basic("jörg", "pässword"),
        basic("long", "x" * 72),
        basic("long", "x" * 99),
    ],
)
def test_who_knows_the_password_gets_in(guarded, credentials):
    authorization = credentials.encode().decode("latin-1")

    assert guarded.get("/metrics", authorization=authorization).status == 200


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "Basic",
        "Basic !!!",
        "Bearer " + RIGHT.split()[1],
        basic("prometheus", "scrape mf"),
        basic("prometheus", ""),
        basic("nobody", "scrape me"),
        basic("", ""),
        basic("prometheus", "scrape me\0"),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    ],
)
def test_who_does_not_stays_out(guarded, credentials):
    answer = guarded.get("/metrics", authorization=credentials)

    assert (answer.status, answer.body) == (401, b"a name and a password are needed\n")
    assert answer.headers["www-authenticate"] == 'Basic realm="gcd", charset="UTF-8"'


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/findings", "/none"])
def test_nothing_is_told_without(guarded, path):
    assert guarded.get(path).status == 401


def test_health_is_told_to_everybody(guarded):
    assert [guarded.get(path).status for path in ("/-/healthy", "/-/ready")] == [200, 200]


def test_a_password_is_hashed_once_and_so_is_a_wrong_one(guarded, hashes):
    wrong = basic("prometheus", "guess")

    statuses = [guarded.get("/metrics", authorization=word).status for word in (RIGHT, wrong, RIGHT, wrong, RIGHT)]

    assert statuses == [200, 401, 200, 401, 200]
    assert hashes == [b"scrape me", b"guess"]


def test_guessing_is_slow_and_keeps_nobody_out(guarded, hashes, monkeypatch):
    right = access.bcrypt.checkpw
    monkeypatch.setattr(access.bcrypt, "checkpw", lambda word, of: time.sleep(0.1) or right(word, of))
    assert guarded.get("/metrics", authorization=RIGHT).status == 200
    began = time.monotonic()

    with ThreadPoolExecutor(20) as guessers:
        guesses = [
            guessers.submit(guarded.get, "/metrics", authorization=basic("prometheus", f"guess {n}")) for n in range(60)
        ]
        while not all(guess.done() for guess in guesses):
            assert guarded.get("/metrics", authorization=RIGHT).status == 200
        took = time.monotonic() - began

    statuses = [guess.result().status for guess in guesses]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= 1 + took / 0.4  # a tenth of a second of work, three of rest
    assert len(hashes) == 1 + statuses.count(401)


def at_the_same_time(monkeypatch, *comers):
    """
    What is answered to each of `comers`, who are (address, credentials): they come one after the other while the first
    has its password hashed.
    """
    ending = threading.Event()
    right = bcrypt.checkpw
    logins = Access(USERS)
    monkeypatch.setattr(access, "REST", 0)
    monkeypatch.setattr(access.bcrypt, "checkpw", lambda word, of: ending.wait(20) and right(word, of))

    async def all_come():
        coming = []
        for address, credentials in comers:
            coming.append(asyncio.create_task(logins.verdict(credentials, address)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        ending.set()
        return await asyncio.gather(*coming)

    with contextlib.closing(logins):
        return asyncio.run(all_come())


def guesses(addresses):
    return [(address, basic("prometheus", f"guess {n}")) for n, address in enumerate(addresses)]


@pytest.mark.parametrize(
    ("network", "stranger"),
    [
        ("192.0.2.{}", "198.51.100.7"),
        ("::ffff:192.0.2.{}", "::ffff:198.51.100.7"),
        ("2001:db8:1:{}::1", "2001:db8:2::1"),
    ],
)
def test_a_network_that_guesses_keeps_no_other_out(monkeypatch, network, stranger):
    crowd = guesses(network.format(n) for n in range(1, 1 + access.MOST_WAITING))
    late = (network.format(77), basic("prometheus", "late"))

    verdicts = at_the_same_time(monkeypatch, *crowd, late, (stranger, RIGHT), late)

    denied, too_many = Verdict.DENIED, Verdict.TOO_MANY
    assert verdicts == [*[denied] * 15, too_many, too_many, Verdict.ADMITTED, too_many]


def test_the_addresses_of_one_client_are_one(monkeypatch):
    verdicts = at_the_same_time(monkeypatch, *guesses(["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", ""]))

    assert verdicts == [Verdict.DENIED, Verdict.TOO_MANY, Verdict.DENIED, Verdict.DENIED]


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(access, "KEPT", 3)
    monkeypatch.setattr(access, "REST", 0)

    with site(published(), users=USERS) as guarded:
        assert guarded.get("/metrics", authorization=RIGHT).status == 200
        for n in range(5):
            assert guarded.get("/metrics", authorization=basic("x", str(n))).status == 401
        hashed = []
        monkeypatch.setattr(access.bcrypt, "checkpw", lambda word, _: hashed.append(word) or False)
        assert guarded.get("/metrics", authorization=RIGHT).status == 200
        assert [guarded.get("/metrics", authorization=basic("x", str(n))).status for n in (4, 0)] == [401, 401]

    assert hashed == [b"0"]


@pytest.mark.parametrize(
    ("hashed", "why"),
    [
        ("$2y$31$" + "." * 53, "has the cost 31, which takes too long at each login: make one of at most 14"),
        ("$1$md5", "is none of bcrypt: make one"),
    ],
)
def test_hashes_that_nobody_could_log_in_with(hashed, why):
    with pytest.raises(CannotListen) as told, site(published(), users={"a\nb": hashed}):
        pass

    assert str(told.value) == f"The hash of user a\\nb {why} with htpasswd -nB -C 10"
