"""
An engine of a few lines, as a process of its own: what a release asks of an API, on a socket, over a root on disk.

It keeps what a real one does of images and layers: an image that is loaded from an archive without layers must find
them all; with an image go its layers that no other image and no other layer stands on, the topmost first. All that it
knows is on disk. It answers one request after the other, so whoever is answered knows that those before are done.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import tarfile
from contextlib import contextmanager
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer
from typing import TYPE_CHECKING, Any, assert_never

from gcd.actions.release import LABEL
from gcd.model.ids import DiffId, chain_ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IMAGE = re.compile(r"/v[0-9.]+/images/(sha256:[0-9a-f]{64})(/json)?")


class _Store:
    """Images and layers on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._configs = root / "image/overlay2/imagedb/content/sha256"
        self._records = root / "image/overlay2/layerdb/sha256"

    def images(self) -> dict[str, dict[str, Any]]:
        return {f"sha256:{path.name}": json.loads(path.read_bytes()) for path in self._configs.iterdir()}

    def told(self, id_: str) -> dict[str, Any] | None:
        config = self.images().get(id_)
        if config is None:
            return None
        labels = (config.get("config") or {}).get("Labels")
        return {
            "Id": id_,
            "RepoTags": [] if labels and LABEL in labels else ["base:1"],
            "RepoDigests": [],
            "Config": {"Labels": labels},
            "RootFS": {"Layers": config["rootfs"]["diff_ids"]},
            "GraphDriver": {"Name": "overlay2", "Data": {"LowerDir": "", "UpperDir": ""}},
        }

    def load(self, archive: bytes) -> str:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            (manifest,) = json.loads(_member(opened, "manifest.json"))
            raw = _member(opened, manifest["Config"])
        for chain in _chains(json.loads(raw)):
            assert self._record(chain).is_dir(), chain
        name = manifest["Config"].removesuffix(".json")
        (self._configs / name).write_bytes(raw)
        return f"sha256:{name}"

    def remove(self, id_: str) -> list[dict[str, str]]:
        config = self.images()[id_]
        (self._configs / id_.removeprefix("sha256:")).unlink()
        deleted = [{"Deleted": id_}]
        for chain in reversed(_chains(config)):
            held = any(chain in _chains(other) for other in self.images().values())
            if held or chain in self._parents():
                break
            self._delete(chain)
            deleted.append({"Deleted": chain})
        return deleted

    def _record(self, chain: str) -> Path:
        return self._records / chain.removeprefix("sha256:")

    def _parents(self) -> set[str]:
        return {(r / "parent").read_text() for r in self._records.iterdir() if (r / "parent").exists()}

    def _delete(self, chain: str) -> None:
        layer_dir = self._root / "overlay2" / (self._record(chain) / "cache-id").read_text()
        (self._root / "overlay2/l" / (layer_dir / "link").read_text()).unlink()
        shutil.rmtree(layer_dir)
        shutil.rmtree(self._record(chain))


class Trouble(Enum):
    """What an engine can do instead of an answer."""

    REFUSES = auto()
    """It does nothing, and answers with status 500."""
    CONFLICT = auto()
    """It does nothing, and answers with status 409."""
    DROPS = auto()
    """It does nothing, and closes the connection."""
    GARBLES = auto()
    """It does what it is asked, and answers with what is no JSON."""
    FAILS_LATE = auto()
    """It does what it is asked, and answers with status 500."""
    BREAKS_OFF = auto()
    """It does what it is asked, and closes the connection in the middle of the answer."""
    DIES = auto()
    """It does what it is asked, and closes the connection without an answer."""
    HANGS = auto()
    """It does what it is asked, and never answers."""


IDLE = frozenset({Trouble.REFUSES, Trouble.CONFLICT, Trouble.DROPS})


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    assert found is not None
    return found.read()


def _chains(config: dict[str, Any]) -> tuple[str, ...]:
    return chain_ids(tuple(map(DiffId, config["rootfs"]["diff_ids"])))


class _Answers(BaseHTTPRequestHandler):
    """Each request on a connection of its own, as HTTP 1.0 has it."""

    store: _Store
    troubled: tuple[int, Trouble] | None
    asked: Path
    wbufsize = -1  # an answer is one piece, so that whoever hears it makes the same calls each time

    _trouble: Trouble | None = None

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        with self.asked.open("a") as asked:
            asked.write(f"{self.command}\n")
        if self.troubled is not None and len(self.asked.read_text().split()) == self.troubled[0]:
            self._trouble = self.troubled[1]
        if self._trouble in IDLE:
            self._answer(200, {})
            return False
        return True

    def do_GET(self) -> None:
        match = _IMAGE.fullmatch(self.path)
        if match is not None:
            told = self.store.told(match[1])
            self._answer(404 if told is None else 200, told or {"message": "no such image"})
        elif "/images/json" in self.path:
            self._answer(200, [{"Id": id_} for id_ in sorted(self.store.images())])
        elif "/containers/json" in self.path:
            self._answer(200, [])
        else:
            self._answer(200, {"ApiVersion": "1.41"})

    def do_POST(self) -> None:
        id_ = self.store.load(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(200, {"stream": f"Loaded image ID: {id_}\n"})

    def do_DELETE(self) -> None:
        match = _IMAGE.fullmatch(self.path.partition("?")[0])
        assert match is not None, self.path
        if self.store.told(match[1]) is None:
            self._answer(404, {"message": "no such image"})
        else:
            self._answer(200, self.store.remove(match[1]))

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        length = len(body)
        match self._trouble:
            case Trouble.DROPS | Trouble.DIES:
                return
            case Trouble.HANGS:
                self.connection.recv(1)  # until whoever asked hangs up
                return
            case Trouble.REFUSES | Trouble.FAILS_LATE:
                status, body = 500, b'{"message":"out of order"}'
            case Trouble.CONFLICT:
                status, body = 409, b'{"message":"conflict"}'
            case Trouble.GARBLES:
                body = b"<html>"
            case Trouble.BREAKS_OFF:
                body = body[: length // 2]
            case None:
                pass
            case _:
                assert_never(self._trouble)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length if self._trouble is Trouble.BREAKS_OFF else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "gcd"

    def log_message(self, *_: object) -> None:
        """It says nothing."""


@contextmanager
def fake_engine(root: Path, socket: Path, troubled: tuple[int, Trouble] | None = None) -> Iterator[Path]:
    """
    An engine on `root` that answers on `socket` until the block ends; a request of that number (from 1) is `troubled`.

    The file that is given holds the methods of all requests, one a line.
    """
    asked = socket.with_name("asked")
    asked.write_text("")
    own = {"store": _Store(root), "troubled": troubled, "asked": asked}
    answers = type("Answers", (_Answers,), own)
    with UnixStreamServer(str(socket), answers) as server:
        pid = os.fork()
        if pid == 0:
            server.handle_error = lambda *_: None  # type: ignore[method-assign] # whoever asked was killed
            server.serve_forever()
    try:
        yield asked
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
