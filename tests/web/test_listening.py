"""Where it listens, with which certificate, and the one sentence where it cannot."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import subprocess

import pytest
from support.browsing import site
from support.published import published

from gcd.model.errors import ExitBits
from gcd.web import CannotListen, listening, serve


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that this test signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    ask = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2"
    for command in (
        f"{ask} -subj /CN=gcd -addext subjectAltName=IP:127.0.0.1",
        "ec -in key.pem -aes128 -passout pass:secret -out locked.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def sentence(address="127.0.0.1:0", **settings):
    with pytest.raises(CannotListen) as told:
        serve(lambda: None, listen_address=address, **settings)
    assert told.value.exit_bits == ExitBits.NOT_DONE
    return str(told.value)


def test_tls(certificate):
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))

    with site(published(), tls=trusting, tls_cert=certificate / "cert.pem", tls_key=certificate / "key.pem") as served:
        assert served.get("/-/ready").body == b"ready\n"
        assert b"gcd_up 1.0" in served.get("/metrics").body
        assert served.said_to(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""  # no HTTP without TLS

        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with served.connected() as client, pytest.raises(OSError, match=r"(?i)protocol|alert|unsupported|no ciphers"):
            old.wrap_socket(client)
        assert served.get("/-/ready").status == 200


def test_an_address_in_use():
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"

        assert sentence(address) == (
            f"cannot listen on {address}: another program listens there; set web.listen_address to another one"
        )


def test_the_address_is_free_again_after_the_end():
    with site(published()) as served:
        address = served.address
        assert served.get("/-/ready").status == 200

    with serve(lambda: None, listen_address=address) as again:
        assert again.address == address


def test_an_address_of_another_host():
    assert sentence("192.0.2.1:9871") == (
        "cannot listen on 192.0.2.1:9871: this host does not have that address; set web.listen_address to another one"
    )


def test_a_host_that_is_not_there(monkeypatch):
    def unknown(*_arguments, **_words):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert sentence("no\x1bhost:1") == (
        "cannot listen on no\\x1bhost:1: there is no such host (Name or service not known); "
        "set web.listen_address to another one"
    )


def test_no_right_to_a_port(monkeypatch):
    def denied(*_arguments, **_words):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", denied)

    assert sentence("127.0.0.1:443") == (
        "cannot listen on 127.0.0.1:443: no right to listen there: ports below 1024 need root rights; "
        "set web.listen_address to another one"
    )


@pytest.mark.parametrize("address", ["127.0.0.1:70000", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1"])
def test_ports_that_there_are_not(address):
    assert sentence(address) == (
        f"cannot listen on {address}: it must end in a colon and a port; set web.listen_address to another one"
    )


def test_all_addresses():
    with serve(lambda: None, listen_address=":0") as server:
        port = int(server.address.rpartition(":")[2])
        hosts = ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]
        for host in hosts:
            socket.create_connection((host, port), timeout=5).close()


def test_an_ipv6_address():
    with serve(lambda: None, listen_address="[::1]:0") as server:
        assert server.address.startswith("[::1]:")
        socket.create_connection(("::1", int(server.address.rpartition(":")[2])), timeout=5).close()


def test_files_that_are_no_certificate_and_key(certificate, tmp_path):
    cert, key, locked = (certificate / name for name in ("cert.pem", "key.pem", "locked.pem"))
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    none = tmp_path / "none.pem"
    rest = "are no certificate and its key, as PEM and without a password"

    assert sentence(tls_cert=none, tls_key=key) == f"web.tls_cert {none} cannot be read: No such file or directory"
    assert sentence(tls_cert=cert, tls_key=none) == f"web.tls_key {none} cannot be read: No such file or directory"
    assert sentence(tls_cert=tmp_path, tls_key=key) == f"web.tls_cert {tmp_path} cannot be read: Is a directory"
    for one, other in ((nonsense, key), (cert, nonsense), (cert, locked), (key, cert)):
        assert sentence(tls_cert=one, tls_key=other).startswith(f"{one} and {other} {rest} (")
        assert sentence(tls_cert=one, tls_key=other).endswith("; set web.tls_cert and web.tls_key")


def test_a_key_that_may_not_be_read(certificate, monkeypatch):
    real = type(certificate).open

    def opened(path, *arguments, **words):
        if path.name == "key.pem":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **words)

    monkeypatch.setattr(type(certificate), "open", opened)

    key = certificate / "key.pem"
    assert sentence(tls_cert=certificate / "cert.pem", tls_key=key) == (
        f"web.tls_key {key} cannot be read: Permission denied"
    )


def test_nothing_listens_where_a_certificate_is_wrong(monkeypatch, tmp_path):
    began = []
    monkeypatch.setattr(listening, "listen", began.append)

    sentence(tls_cert=tmp_path / "none", tls_key=tmp_path / "none")

    assert began == []
