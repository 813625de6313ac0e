"""Clients that mean ill, or merely are many or slow: none of them costs the others the service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.browsing import PATIENCE_SECONDS, site
from support.published import busy_daemon, published

from gcd.metrics import exposition
from gcd.web import app, door

MOST_THREADS = 4
"""The loop, two that render, one that hashes."""


@pytest.fixture
def busy():
    with site(busy_daemon()) as served:
        assert served.get("/metrics").status == 200
        yield served


@pytest.fixture
def much(monkeypatch):
    """Findings that fit into no buffer."""
    text = "x" * 16 * 1024**2
    monkeypatch.setattr(app, "json_report", lambda _result: text)
    return text


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def threads_of_the_server():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("gcd-web")]


@contextlib.contextmanager
def crowd(served, number, *said):
    """So many clients that each said something, and wait."""
    with contextlib.ExitStack() as leaving:
        clients = []
        for _ in range(number):
            client = leaving.enter_context(served.connected())
            with contextlib.suppress(OSError):
                for piece in said:
                    client.sendall(piece)
            clients.append(client)
        yield clients


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-A: b"])
def test_many_clients_that_never_come_to_their_point(busy, said, monkeypatch):
    monkeypatch.setattr(door, "FAIR_SECONDS", 0.5)
    monkeypatch.setattr(door, "REQUEST_SECONDS", 100)
    before = open_files()
    with crowd(busy, 2 * door.ROOM, said):
        assert busy.get("/metrics").status == 200
        assert open_files() - before <= 2 * door.ROOM + door.ROOM + 1  # theirs, and those of the server
        assert len(threads_of_the_server()) <= MOST_THREADS


def test_clients_that_send_a_byte_now_and_then(busy, monkeypatch):
    monkeypatch.setattr(door, "FAIR_SECONDS", 0.5)
    monkeypatch.setattr(door, "REQUEST_SECONDS", 100)
    ending = threading.Event()

    def drip(clients):
        while not ending.wait(0.1):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(b"x")

    with crowd(busy, 2 * door.ROOM, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-A: ") as clients:
        dripping = threading.Thread(target=drip, args=(clients,))
        dripping.start()
        try:
            for _ in range(5):
                assert busy.get("/metrics").status == 200
        finally:
            ending.set()
            dripping.join()


def test_who_does_not_ask_is_shown_out(busy, monkeypatch):
    monkeypatch.setattr(door, "REQUEST_SECONDS", 0.2)

    assert busy.said_to(b"GET / HTTP/1.1\r\n") == b""


def test_who_does_not_take_the_answer_is_shown_out(much, monkeypatch):
    monkeypatch.setattr(door, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(door, "ANSWER_SECONDS", 0.2)
    with site(published()) as served, served.connected() as client:
        before = resident_bytes()
        client.sendall(b"GET /api/v1/findings HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65536):
                taken += len(piece)

        assert taken < len(much)
        assert resident_bytes() - before < 3 * len(much)


def test_clients_that_do_not_take_their_answers_make_room_for_others(much, monkeypatch):
    monkeypatch.setattr(door, "FAIR_SECONDS", 0.2)
    monkeypatch.setattr(door, "ROOM", 20)
    with site(published()) as served:
        with crowd(served, 60, b"GET /api/v1/findings HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            assert served.get("/metrics").status == 200
        assert served.get("/api/v1/findings").body.decode() == much


def test_a_thousand_scrapes_at_once(busy, monkeypatch):
    monkeypatch.setattr(door, "FAIR_SECONDS", 30)  # this one process is a thousand clients, and slow at it
    expected = exposition(busy.shown.latest)
    before = resident_bytes()

    async def scrape():
        reader, writer = await asyncio.open_connection(*busy.place)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def scrapes():
        return await asyncio.gather(*(scrape() for _ in range(1000)))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    try:
        answers = asyncio.run(scrapes())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    bodies = {answer.partition(b"\r\n\r\n")[2] for answer in answers}
    assert bodies == {expected}
    assert len(threads_of_the_server()) <= MOST_THREADS
    assert resident_bytes() - before < 100 * 1024**2  # half of it is the answers in this test's hands


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * (2 * door.REQUEST_BYTES) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"b" * (2 * door.REQUEST_BYTES) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * door.REQUEST_BYTES + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX A: b\r\n\r\n",
        b"\0" * 100 + b"\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=range(11),
)
def test_requests_that_are_none_are_refused(busy, request_bytes, capfd):
    answer = busy.said_to(request_bytes)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert busy.get("/-/ready").status == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /-/ready HTTP/1.0\r\n\r\n",
        b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"GET http://other/-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["old", "upgrade", "expect", "absolute", "pipelined"],
)
def test_odd_requests_get_one_answer_and_the_end(busy, request_bytes, capfd):
    answer = busy.said_to(request_bytes)

    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer[9:12] in {b"200", b"404"}
    assert capfd.readouterr() == ("", "")


def test_bodies_are_not_read(busy):
    before = resident_bytes()
    body = b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"

    with busy.connected() as client:
        client.sendall(body)
        assert client.recv(100).startswith(b"HTTP/1.1 405 ")

    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"  # one object: this process is the server's, too
    busy.said_to(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 5000)
    assert busy.get("/-/ready").status == 200
    assert resident_bytes() - before < 64 * 1024**2  # a fifth of what was sent


@pytest.fixture
def over_tls(tmp_path):
    """What `site` takes to serve with a certificate for 127.0.0.1."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout k -out c -days 2 "
    command += "-subj /CN=gcd -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "c"))
    return {"tls": trusting, "tls_cert": tmp_path / "c", "tls_key": tmp_path / "k"}


def test_handshakes_that_are_never_finished(over_tls, monkeypatch):
    monkeypatch.setattr(door, "FAIR_SECONDS", 0.5)
    with site(published(), **over_tls) as served, crowd(served, 2 * door.ROOM, b"\x16\x03\x01"):
        assert served.get("/-/ready").status == 200
        assert len(threads_of_the_server()) <= MOST_THREADS


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
def test_a_handshake_that_is_shown_out_keeps_no_file_open(over_tls, monkeypatch, said):
    monkeypatch.setattr(door, "ROOM", 10)
    monkeypatch.setattr(door, "FAIR_SECONDS", 0.1)
    monkeypatch.setattr(door, "REQUEST_SECONDS", 100)
    with site(published(), **over_tls) as served:
        before = open_files()
        with crowd(served, 60, said):
            assert served.get("/-/ready").status == 200
            assert open_files() - before <= 60 + door.ROOM  # theirs, and those of the server


@pytest.mark.usefixtures("much")
def test_a_stop_waits_for_no_client():
    with contextlib.ExitStack() as leaving:
        with site(published()) as served:
            leaving.enter_context(crowd(served, 20, b"GET /api/v1/findings HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            leaving.enter_context(crowd(served, 20, b"GET"))

        assert threads_of_the_server() == []


def test_the_last_result_is_served_while_another_is_rendered(busy, monkeypatch):
    """What takes long for one does not hold up the rest."""
    rendering, ending = threading.Event(), threading.Event()

    def slowly(_result):
        rendering.set()
        ending.wait(PATIENCE_SECONDS)
        return "{}"

    monkeypatch.setattr(app, "json_report", slowly)
    asking = threading.Thread(target=busy.get, args=("/api/v1/findings",))
    asking.start()
    try:
        assert rendering.wait(PATIENCE_SECONDS)
        busy.shown.latest = replace(busy.shown.latest, trouble="x")
        assert busy.get("/metrics").status == 200
    finally:
        ending.set()
        asking.join()
