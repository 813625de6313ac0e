"""
The API of the one engine that owns a root (safety rule S11).

`connect` finds the engine's own socket, and makes sure that whoever answers there keeps this very root with the
graphdriver overlay2: its ``DockerRootDir``, seen as the engine sees it, has the root's device and inode. What the
engine refuses is an `EngineRefused`, whose text is what it said.

An engine that hangs must not take with it whoever has more to do than to ask it: see `Impatience`.

The client is the ``docker`` package, imported at the first use: it and what it needs take a third of a second.

Sources: moby ``api/server/router/image``, ``daemon/info.go``, ``daemon/images/image_delete.go`` (what a removal
answers), ``image/tarexport/load.go`` (what a load answers); Docker 20.10, 26.1 and 28.5 agree.
"""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from msgspec import Struct

from gcd.formats.escape import escaped
from gcd.model import layout
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState, Listed
from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId, LayerDirId, is_digest, is_layer_dir_id
from gcd.root.apisocket import api_socket
from gcd.root.dockerd import engines_on, identity_of, resolve_below, top_of
from gcd.root.processes import PROC, Process
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from gcd.model.facts import Engine
    from gcd.root.dockerd import RunningEngine
    from gcd.root.tree import Directory

T = TypeVar("T")

ANSWER_SECONDS = 600
"""How long the engine may take for one answer: it answers a removal when the last file is gone."""

IMPATIENT_SECONDS = 10
"""How long it may take with an `Impatience` for an answer to a question, and for each part of that answer."""

BEAT_SECONDS = 0.5
"""How often there is a beat while the engine works."""

_COMPLAINT = 300
"""How many characters of what the engine says are told."""

_SNAPSHOTTER = "driver-type"
"""The key in the ``DriverStatus`` of an engine that keeps its images in containerd (moby ``daemon/containerd``)."""


_SILENT: Final[dict[str, Any]] = {}
"""Stands for an answer that the engine cannot give."""


class EngineRefused(Exception):
    """The engine did not do what it was asked; the text is its answer, in one line, escaped."""


class NoAnswer(EngineRefused):
    """The engine took longer than it may."""


class Impatience(Struct, frozen=True):
    """
    Of whoever has more to do: the engine may take no more than `IMPATIENT_SECONDS` to answer what it is asked. `pulse`
    is called between two questions, and ends them by raising. What changes the engine may take as long as ever, for a
    change that nobody waits for cannot be compared with what was foretold: meanwhile there is a `beat` now and then,
    which raises nothing.
    """

    pulse: Callable[[], None]
    beat: Callable[[], None]


class LoadedImage(Struct, frozen=True):
    """What the engine says of an image; `references` are all its names, digests too."""

    id: ImageId
    references: tuple[str, ...]
    labels: Mapping[str, str]
    diff_ids: tuple[DiffId, ...]


class _Client(Protocol):
    """What is used of ``docker.APIClient``; `timeout` is in seconds, for each read and write of a request."""

    timeout: float

    def info(self) -> dict[str, Any]: ...
    def images(self, *, all: bool) -> list[dict[str, Any]]: ...  # noqa: A002 - its own name
    def containers(self, *, all: bool) -> list[dict[str, Any]]: ...  # noqa: A002 - its own name
    def inspect_image(self, image: str) -> dict[str, Any]: ...
    def inspect_container(self, container: str) -> dict[str, Any]: ...
    def load_image(self, data: bytes) -> Iterator[dict[str, Any]]: ...
    def remove_image(self, image: str, *, force: bool, noprune: bool) -> list[dict[str, str]]: ...
    def close(self) -> None: ...


class EngineApi:
    """The engine that answers; closes its connections as a context manager."""

    def __init__(self, client: _Client, socket: str, impatience: Impatience | None = None) -> None:
        self._client = client
        self._impatience = impatience
        self.socket = socket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def pulse(self) -> None:
        """To be called in whatever takes long between two questions."""
        if self._impatience is not None:
            self._impatience.pulse()

    def listed(self, without: ImageId | None = None, *, silent_too: bool = False) -> Listed:
        """
        All images, those between two steps of a build too, and all containers, but for the image `without`; what goes
        meanwhile is left out. One of which the engine cannot say what it uses, since that is damaged, is
        `EngineRefused`, or with `silent_too` in `silent`.
        """
        images = self._inspected(self._client.images, self._client.inspect_image, silent_too=silent_too)
        images.pop(without or "", None)
        containers = self._inspected(self._client.containers, self._client.inspect_container, silent_too=silent_too)
        both = {**images, **containers}
        dirs = frozenset(name for found in both.values() for name in _dirs(found))
        silent = frozenset(id_ for id_, found in both.items() if found == _SILENT)
        return Listed(frozenset(map(ImageId, images)), frozenset(map(ContainerId, containers)), dirs, silent)

    def images(self) -> tuple[LoadedImage, ...]:
        """All images, as `listed`."""
        return tuple(map(_image, self._inspected(self._client.images, self._client.inspect_image).values()))

    def has(self, image: ImageId) -> bool:
        """Whether the engine knows an image of that full id."""
        with _answers():
            return _unless_gone(self._client.inspect_image, image) is not None

    def _inspected(
        self,
        list_all: Callable[..., list[dict[str, Any]]],
        inspect: Callable[[str], dict[str, Any]],
        *,
        silent_too: bool = False,
    ) -> dict[str, dict[str, Any]]:
        self.pulse()
        with _answers():
            ids = [entry["Id"] for entry in list_all(all=True)]
        found: dict[str, dict[str, Any] | None] = {}
        for id_ in ids:
            self.pulse()
            try:
                with _answers():
                    found[id_] = _unless_gone(inspect, id_)
            except NoAnswer:
                raise
            except EngineRefused:
                if not silent_too:
                    raise
                found[id_] = _SILENT
        return {id_: answer for id_, answer in found.items() if answer is not None}

    def load(self, archive: bytes) -> None:
        """Load an archive as ``docker load`` does. A load that is refused may have deleted layers all the same."""
        self._changed(partial(self._load, archive))

    def _load(self, archive: bytes) -> None:
        for line in self._client.load_image(archive):
            if complaint := line.get("error") or line.get("message"):
                raise EngineRefused(_told(complaint))

    def remove(self, image: ImageId) -> frozenset[ChainId] | None:
        """
        Remove the image of that full id, by no force and with no other; the layers that were deleted with it.

        None: the engine does not know the image.
        """
        remove = partial(self._client.remove_image, force=False, noprune=True)
        answer = self._changed(partial(_unless_gone, remove, image))
        if answer is None:
            return None
        deleted = {entry["Deleted"] for entry in answer if "Deleted" in entry}
        return frozenset(ChainId(id_) for id_ in deleted if id_ != image and is_digest(id_))

    def _changed(self, change: Callable[[], T]) -> T:
        """What `change` gives, for which the engine has `ANSWER_SECONDS`."""
        with _answers():
            if self._impatience is None:
                return change()
            self._client.timeout = ANSWER_SECONDS
            try:
                return _beside(change, self._impatience.beat)
            finally:
                self._client.timeout = IMPATIENT_SECONDS


def connect(
    root: Directory, engine: Engine, *, socket: str = "", impatience: Impatience | None = None, proc: str = PROC
) -> EngineApi:
    """
    The API of `engine`, which runs on `root`; `socket` is the one that the user names, if any.

    Raises `CannotAct` where the engine, its socket or an answer is missing, and where it is another engine's.
    """
    running = _running(root, engine, proc)
    path = api_socket(running, socket, proc)
    try:
        client = _client(path, impatience)
    except EngineRefused as refusal:
        raise CannotAct(f"The engine does not answer on {escaped(path)}: {refusal}.") from None
    api = EngineApi(client, path, impatience)
    try:
        with _answers():
            doubt = _doubt(client.info(), root, running, proc)
    except EngineRefused as refusal:
        doubt = f"The engine does not answer on {escaped(path)}: {refusal}."
    if doubt:
        client.close()
        raise CannotAct(doubt)
    return api


def _running(root: Directory, engine: Engine, proc: str) -> RunningEngine:
    if engine.state is not EngineState.RUNNING:
        raise CannotAct("No engine runs on this root: only a running engine can be asked to release a layer.")
    if engine.pid is None:
        raise CannotAct("Which process the engine of this root is cannot be told: run gcd as root, beside the engine.")
    try:
        found = [running for running in engines_on(root, proc) if running.pid == engine.pid]
    except OSError as error:
        raise CannotAct(f"Processes cannot be listed ({name_of(error)}): run gcd as root.") from None
    if not found:
        raise CannotAct(f"dockerd (pid {engine.pid}) does not say that it uses this root.")
    return found[0]


def _client(path: str, impatience: Impatience | None = None) -> _Client:
    import docker  # noqa: PLC0415 - a third of a second that only this road costs

    with _answers():
        timeout = ANSWER_SECONDS if impatience is None else IMPATIENT_SECONDS
        client: _Client = docker.APIClient(base_url=f"unix://{path}", version="auto", timeout=timeout)
    return client


def _doubt(info: dict[str, Any], root: Directory, running: RunningEngine, proc: str) -> str:
    """Why `info` is not the answer of `running` about `root`, in a sentence; "" if it is."""
    driver, home = info.get("Driver"), info.get("DockerRootDir")
    status = {str(pair[0]) for pair in info.get("DriverStatus") or () if pair}
    if driver != layout.OVERLAY2 or _SNAPSHOTTER in status:
        return (
            f"The engine keeps its layers with {escaped(str(driver))}: gcd releases those of the driver overlay2 only."
        )
    if not isinstance(home, str) or not home.startswith("/"):
        return "The engine does not say where its root is."
    try:
        top = top_of(Process(proc, running.pid))
        found = identity_of(Path(top.rstrip("/") + resolve_below(top, home)).stat())
    except OSError as error:
        return f"{escaped(home)}, where the engine says that its root is, cannot be seen ({name_of(error)})."
    if found != identity_of(root.stat()):
        return f"The engine that answers keeps another root, {escaped(home)}."
    return ""


def _beside(work: Callable[[], T], beat: Callable[[], None]) -> T:
    """What `work` gives, done in a thread that no end of this process waits for; `beat` is called meanwhile."""
    answer: Future[T] = Future()

    def do() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.set_exception(error)

    Thread(target=do, name="gcd-engine", daemon=True).start()
    while not wait([answer], timeout=BEAT_SECONDS).done:
        beat()
    return answer.result()


def _unless_gone(ask: Callable[[str], T], id_: str) -> T | None:
    """What `ask` says of `id_`; None if the engine does not know it."""
    import docker.errors  # noqa: PLC0415 - as above

    try:
        return ask(id_)
    except docker.errors.NotFound:
        return None


def _image(found: dict[str, Any]) -> LoadedImage:
    with _answers():
        return LoadedImage(
            id=ImageId(found["Id"]),
            references=(*(found.get("RepoTags") or ()), *(found.get("RepoDigests") or ())),
            labels=dict((found.get("Config") or {}).get("Labels") or {}),
            diff_ids=tuple(map(DiffId, (found.get("RootFS") or {}).get("Layers") or ())),
        )


def _dirs(found: dict[str, Any]) -> frozenset[LayerDirId]:
    """The layer dirs in the paths of an image's, or a container's, ``GraphDriver``."""
    paths = ((found.get("GraphDriver") or {}).get("Data") or {}).values()
    names = (name for path in paths for part in str(path).split(":") for name in part.split("/"))
    return frozenset(name for name in names if is_layer_dir_id(name))


@contextmanager
def _answers() -> Iterator[None]:
    """Inside, whatever goes wrong between gcd and the engine, or with the form of an answer, is an `EngineRefused`."""
    import docker.errors  # noqa: PLC0415 - as above
    import requests.exceptions  # noqa: PLC0415 - as above
    import urllib3.exceptions  # noqa: PLC0415 - as above

    try:
        yield
    except (TimeoutError, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise NoAnswer(_told(error)) from None
    except docker.errors.APIError as error:
        raise EngineRefused(_told(error.explanation or error)) from None
    except (docker.errors.DockerException, docker.errors.StreamParseError, urllib3.exceptions.HTTPError) as error:
        raise EngineRefused(_told(error)) from None
    except OSError as error:  # those of requests among them
        raise EngineRefused(_told(error)) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EngineRefused(f"an answer of an unknown form ({_told(repr(error))})") from None


def _told(what: object) -> str:
    return escaped(str(what).strip().removesuffix("."), _COMPLAINT)
