"""What the daemon serves over HTTP: the board, at the address of the settings, also when these change."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest

from gcd import cli, settings
from gcd.daemon.board import Board
from gcd.daemon.serving import Serving
from gcd.demo.dockerroot import DockerRoot
from gcd.model.errors import ExitBits, GcdError
from gcd.notify import Notifier
from gcd.settings import load


@pytest.fixture
def etc(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "CONFIG_DIR", tmp_path)
    return tmp_path


@pytest.fixture
def serving():
    with Serving(Board(Notifier())) as serving:
        yield serving


@pytest.fixture
def taken():
    """An address that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def web(etc, **table):
    said = "".join(f'{name} = "{value}"\n' for name, value in table.items())
    (etc / "gcd.toml").write_text(f"[web]\n{said}")
    return load({})


def health(port, scheme="http"):
    """The status of ``/-/healthy``; 0 if nobody answers."""
    context = ssl._create_unverified_context()  # noqa: S323 - the test's own certificate
    try:
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}/-/healthy")  # noqa: S310 - one of the two
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310 - the same
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_an_address_that_is_taken_is_one_sentence(etc, tmp_path, taken, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        built.image("web:1")
    assert etc.exists()

    assert cli.run(["run", "--root", str(tmp_path / "docker"), "--web.listen-address", taken]) == ExitBits.NOT_DONE
    err = capsys.readouterr().err
    assert err.startswith("gcd: ")
    assert taken in err
    assert err.count("\n") == 1


def test_another_address_is_moved_to(etc, serving):
    first, second = free_port(), free_port()
    serving.follow(web(etc, listen_address=f"127.0.0.1:{first}").settings)
    assert (health(first), health(second)) == (200, 0)

    serving.follow(web(etc, listen_address=f"127.0.0.1:{second}").settings)
    assert (health(first), health(second)) == (0, 200)

    serving.follow(web(etc, listen_address="").settings)
    assert (health(first), health(second)) == (0, 0)


def test_an_address_that_is_taken_is_not_moved_to(etc, serving, taken):
    port = free_port()
    serving.follow(web(etc, listen_address=f"127.0.0.1:{port}").settings)

    with pytest.raises(GcdError):
        serving.follow(web(etc, listen_address=taken).settings)
    assert health(port) == 200


def test_at_one_address_the_old_server_comes_back_if_the_new_one_cannot_be(etc, serving, tmp_path):
    port = free_port()
    address = f"127.0.0.1:{port}"
    serving.follow(web(etc, listen_address=address).settings)
    nothing = str(tmp_path / "nothing.pem")

    with pytest.raises(GcdError):
        serving.follow(web(etc, listen_address=address, tls_cert=nothing, tls_key=nothing).settings)
    assert health(port) == 200


def test_where_not_even_the_old_server_comes_back_the_next_call_begins_it(etc, serving, tmp_path, monkeypatch):
    port = free_port()
    address, nothing = f"127.0.0.1:{port}", str(tmp_path / "nothing.pem")
    old = web(etc, listen_address=address).settings
    serving.follow(old)

    def refuse(*_, **__):
        raise GcdError("taken")

    with monkeypatch.context() as patched:
        patched.setattr("gcd.web.serve", refuse)
        with pytest.raises(GcdError):
            serving.follow(web(etc, listen_address=address, tls_cert=nothing, tls_key=nothing).settings)
    assert health(port) == 0

    serving.follow(old)
    assert health(port) == 200


def test_tls_begins_at_the_same_address(etc, serving, tmp_path):
    port = free_port()
    serving.follow(web(etc, listen_address=f"127.0.0.1:{port}").settings)
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    serving.follow(web(etc, listen_address=f"127.0.0.1:{port}", tls_cert=cert, tls_key=key).settings)

    assert (health(port), health(port, "https")) == (0, 200)
