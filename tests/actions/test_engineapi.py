"""The engine's answers, in all their forms: a client that says what a test has it say."""

from __future__ import annotations

import gc
import socket
import time
from typing import TYPE_CHECKING

import docker.errors
import pytest
import requests.exceptions
import urllib3.exceptions
from support.inventories import dir_id, hex64, init_id

from gcd.actions import engineapi
from gcd.actions.engineapi import EngineApi, EngineRefused, Impatience, LoadedImage, NoAnswer, connect
from gcd.model.errors import CannotAct
from gcd.model.facts import Engine, EngineState, Listed
from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId
from gcd.root.dockerd import RunningEngine, Settings, identity_of
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IMAGE, OTHER = (ImageId(f"sha256:{hex64(word)}") for word in ("image", "other"))
CHAIN = ChainId(f"sha256:{hex64('chain')}")
DIFF = DiffId(f"sha256:{hex64('diff')}")
CONTAINER = ContainerId(hex64("container"))


class Answering:
    """A client whose methods give what is set, raise it if it is an error, and note what they were asked."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[tuple[object, ...]] = []
        self.closed = False

    def __getattr__(self, name: str) -> Callable[..., object]:
        def answer(*arguments: object, **options: object) -> object:
            self.asked.append((name, *arguments, options))
            found = self.answers[name]
            if isinstance(found, dict) and name.startswith("inspect"):
                found = found[arguments[0]]
            if isinstance(found, Exception):
                raise found
            return found

        return answer

    def close(self) -> None:
        self.closed = True


def missing() -> docker.errors.NotFound:
    return docker.errors.ImageNotFound("404", explanation="No such image")


def graph_driver(*paths: str) -> dict[str, object]:
    return {"Data": {"LowerDir": ":".join(paths[:-1]), "UpperDir": paths[-1]}, "Name": "overlay2"}


def inspected(id_: str, **more: object) -> dict[str, object]:
    return {"Id": id_, "RepoTags": [], "RepoDigests": None, "RootFS": {"Layers": [DIFF]}, "Config": None, **more}


# --- what it lists --------------------------------------------------------------------------------


def test_listed():
    top, base, rw, init = dir_id("top"), dir_id("base"), dir_id("rw"), init_id("rw")
    client = Answering(
        images=[{"Id": IMAGE}, {"Id": OTHER}],
        containers=[{"Id": CONTAINER}],
        inspect_image={
            IMAGE: inspected(IMAGE, GraphDriver=graph_driver(f"/r/overlay2/{base}/diff", f"/r/overlay2/{top}/diff")),
            OTHER: missing(),
        },
        inspect_container={
            CONTAINER: {"GraphDriver": graph_driver(f"/r/overlay2/{init}/diff", f"/r/overlay2/{rw}/diff")}
        },
    )
    api = EngineApi(client, "/s")
    assert api.listed() == Listed(frozenset({IMAGE}), frozenset({CONTAINER}), frozenset({top, base, rw, init}))
    assert api.listed(without=IMAGE) == Listed(frozenset(), frozenset({CONTAINER}), frozenset({rw, init}))
    assert ("images", {"all": True}) in client.asked
    assert ("containers", {"all": True}) in client.asked


def test_what_the_engine_cannot_say_is_listed_as_silent_only_where_that_is_asked_for():
    broken = docker.errors.APIError("500", explanation="readlink overlay2/l/X: no such file or directory")
    client = Answering(
        images=[{"Id": IMAGE}, {"Id": OTHER}],
        containers=[],
        inspect_image={IMAGE: broken, OTHER: inspected(OTHER)},
    )
    api = EngineApi(client, "/s")

    assert api.listed(silent_too=True) == Listed(frozenset({IMAGE, OTHER}), silent=frozenset({IMAGE}))
    assert api.listed(IMAGE, silent_too=True) == Listed(frozenset({OTHER}))
    with pytest.raises(EngineRefused, match=r"^readlink overlay2/l/X: no such file or directory$"):
        api.listed()


def test_images():
    answer = inspected(IMAGE, RepoTags=["a:v1"], RepoDigests=["a@sha256:x"], Config={"Labels": {"k": "v"}})
    bare = inspected(OTHER, RootFS={"Type": "layers"}, Config={"Labels": None})
    client = Answering(images=[{"Id": IMAGE}, {"Id": OTHER}], inspect_image={IMAGE: answer, OTHER: bare})
    assert EngineApi(client, "/s").images() == (
        LoadedImage(IMAGE, ("a:v1", "a@sha256:x"), {"k": "v"}, (DIFF,)),
        LoadedImage(OTHER, (), {}, ()),
    )


def test_has():
    api = EngineApi(Answering(inspect_image={IMAGE: inspected(IMAGE), OTHER: missing()}), "/s")
    assert (api.has(IMAGE), api.has(OTHER)) == (True, False)


# --- what it does ---------------------------------------------------------------------------------


def test_remove_asks_for_one_image_by_no_force():
    client = Answering(remove_image=[{"Untagged": "a:v1"}, {"Deleted": IMAGE}, {"Deleted": CHAIN}])
    assert EngineApi(client, "/s").remove(IMAGE) == {CHAIN}
    assert client.asked == [("remove_image", IMAGE, {"force": False, "noprune": True})]


def test_remove_of_what_is_gone():
    assert EngineApi(Answering(remove_image=missing()), "/s").remove(IMAGE) is None


def test_load():
    client = Answering(load_image=[{"stream": f"Loaded image ID: {IMAGE}\n"}])
    EngineApi(client, "/s").load(b"archive")
    assert client.asked == [("load_image", b"archive", {})]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            [{"stream": "x"}, {"error": "open layer.tar:\nno such file", "errorDetail": {}}],
            r"open layer.tar:\nno such file",
        ),
        ([{"message": "no archive"}], "no archive"),
        (["no object"], "an answer of an unknown form"),
        (docker.errors.APIError("500", explanation="disk full\n"), "disk full"),
        (docker.errors.DockerException("odd"), "odd"),
        (docker.errors.StreamParseError("half an object"), "half an object"),
        (urllib3.exceptions.ProtocolError("Connection broken"), "Connection broken"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (ValueError("no JSON"), "an answer of an unknown form"),
    ],
)
def test_whatever_goes_wrong_is_a_refusal(answer: object, told: str):
    with pytest.raises(EngineRefused) as refusal:
        EngineApi(Answering(load_image=answer), "/s").load(b"archive")
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_list_of_an_unknown_form():
    with pytest.raises(EngineRefused, match="unknown form"):
        EngineApi(Answering(images=[{"ID": IMAGE}]), "/s").listed()


# --- of one that hangs ----------------------------------------------------------------------------


def nothing() -> None:
    pass


def test_between_two_questions_there_is_a_pulse_that_may_end_them():
    asked: list[int] = []

    def end_after_two() -> None:
        asked.append(len(client.asked))
        if len(asked) == 4:
            raise KeyboardInterrupt

    client = Answering(images=[{"Id": IMAGE}, {"Id": OTHER}, {"Id": CHAIN}])
    client.answers["inspect_image"] = {id_: inspected(id_) for id_ in (IMAGE, OTHER, CHAIN)}
    with pytest.raises(KeyboardInterrupt):
        EngineApi(client, "/s", Impatience(end_after_two, nothing)).images()
    assert asked == [0, 1, 2, 3]
    EngineApi(client, "/s").images()
    assert len(asked) == 4


@pytest.mark.parametrize(
    "late",
    [
        requests.exceptions.ReadTimeout("Read timed out."),
        requests.exceptions.ConnectTimeout("timed out"),
        urllib3.exceptions.ReadTimeoutError(None, "/s", "Read timed out."),
        TimeoutError("timed out"),
    ],
    ids=lambda late: type(late).__module__,
)
def test_one_that_hangs_is_asked_nothing_more(late: Exception):
    """It is no engine that cannot say one thing: it says nothing at all."""
    client = Answering(images=[{"Id": IMAGE}, {"Id": OTHER}], inspect_image={IMAGE: late, OTHER: late})
    with pytest.raises(NoAnswer):
        EngineApi(client, "/s").listed(silent_too=True)
    assert [asked[:2] for asked in client.asked[1:]] == [("inspect_image", IMAGE)]


@pytest.mark.parametrize("change", ["remove", "load"])
def test_the_engine_may_take_its_time_for_a_change_and_there_are_beats(change: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engineapi, "BEAT_SECONDS", 0.01)
    beats: list[float] = []

    class Slow(Answering):
        timeout = float(engineapi.IMPATIENT_SECONDS)

        def work(self, *_: object, **__: object) -> list[dict[str, str]]:
            limits.append(self.timeout)
            end = time.monotonic() + 30
            while len(beats) < 3 and time.monotonic() < end:
                time.sleep(0.01)
            return [{"Deleted": CHAIN}]

        remove_image = load_image = work

    limits: list[float] = []
    client = Slow()
    api = EngineApi(client, "/s", Impatience(nothing, lambda: beats.append(0)))
    answer = getattr(api, change)(IMAGE)
    assert answer == ({CHAIN} if change == "remove" else None)
    assert len(beats) >= 3
    assert (limits, client.timeout) == ([engineapi.ANSWER_SECONDS], engineapi.IMPATIENT_SECONDS)


def test_a_change_that_is_refused_is_so_impatiently_too():
    client = Answering(remove_image=docker.errors.APIError("409", explanation="conflict"))
    impatience = Impatience(nothing, nothing)
    with pytest.raises(EngineRefused, match=r"^conflict$"):
        EngineApi(client, "/s", impatience).remove(IMAGE)
    client = Answering(remove_image=missing())
    assert EngineApi(client, "/s", impatience).remove(IMAGE) is None


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # as below
def test_a_socket_on_which_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """That of a stopped process: it takes connections."""
    monkeypatch.setattr(engineapi, "IMPATIENT_SECONDS", 0.1)
    path = str(tmp_path / "s")
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(path)
        hung.listen()
        with pytest.raises(EngineRefused, match="timed out"):
            engineapi._client(path, Impatience(nothing, nothing))
    assert time.monotonic() - began < 30
    gc.collect()


# --- whose it is ----------------------------------------------------------------------------------

RUNNING = Engine(EngineState.RUNNING, pid=1, epoch_ns=1)


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EngineApi]]:
    """``answering(info)``: `connect` to an engine of the root ``tmp_path/root`` that says `info` of itself."""
    (tmp_path / "root").mkdir()
    (tmp_path / "other").mkdir()
    root = open_root(str(tmp_path / "root"))
    engine = RunningEngine(1, str(tmp_path / "root"), identity_of(root.stat()), Settings(), is_nested=False)
    monkeypatch.setattr(engineapi, "engines_on", lambda _root, _proc: [engine])
    monkeypatch.setattr(engineapi, "api_socket", lambda _engine, named, _proc: named or "/s")
    monkeypatch.setattr(engineapi, "top_of", lambda _process: "/")

    def ask(info: object, **how: object) -> EngineApi:
        client = Answering(info=info)
        monkeypatch.setattr(engineapi, "_client", lambda *_: client)
        clients.append(client)
        return connect(root, how.pop("engine", RUNNING), **how)

    clients: list[Answering] = []
    yield ask
    root.close()
    assert all(client.closed for client in clients)


def told_of(path: Path, **more: object) -> dict[str, object]:
    status = [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]
    return {"Driver": "overlay2", "DockerRootDir": str(path), "DriverStatus": status, **more}


def test_the_engine_of_this_root(answering, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "root")
    for path in (tmp_path / "root", tmp_path / "link"):
        with answering(told_of(path), socket="/mine") as api:
            assert api.socket == "/mine"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"Driver": "btrfs"}, "keeps its layers with btrfs: gcd releases those of the driver overlay2 only"),
        ({"Driver": None}, "keeps its layers with None"),
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, "keeps its layers with overlay2"),
        ({"DockerRootDir": ""}, "does not say where its root is"),
        ({"DockerRootDir": None}, "does not say where its root is"),
        ({"DockerRootDir": "/nowhere/at/all"}, r"/nowhere/at/all, where .* root is, cannot be seen \(ENOENT\)"),
    ],
)
def test_an_engine_that_is_not_the_right_one(answering, tmp_path: Path, more: dict[str, object], why: str):
    with pytest.raises(CannotAct, match=why):
        answering(told_of(tmp_path / "root", **more))


def test_an_engine_that_keeps_another_root(answering, tmp_path: Path):
    with pytest.raises(CannotAct, match=f"The engine that answers keeps another root, {tmp_path}/o"):
        answering(told_of(tmp_path / "other"))


def test_an_engine_that_does_not_answer(answering):
    with pytest.raises(CannotAct, match=r"The engine does not answer on /s: None: Read timed out\.$"):
        answering(urllib3.exceptions.ReadTimeoutError(None, "/s", "Read timed out."))


def test_a_socket_that_refuses(answering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    answering(told_of(tmp_path / "root")).__exit__(None, None, None)

    def refused(*_: object) -> None:
        raise EngineRefused("permission denied")

    monkeypatch.setattr(engineapi, "_client", refused)
    with open_root(str(tmp_path / "root")) as root, pytest.raises(CannotAct, match="on /s: permission denied"):
        connect(root, RUNNING)


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        (Engine(EngineState.STOPPED), "No engine runs on this root"),
        (Engine(EngineState.UNKNOWN), "No engine runs on this root"),
        (Engine(EngineState.RUNNING), "Which process the engine of this root is cannot be told"),
        (Engine(EngineState.RUNNING, pid=2), r"dockerd \(pid 2\) does not say that it uses this root"),
    ],
)
def test_no_engine_to_ask(answering, tmp_path: Path, engine: Engine, why: str):
    answering(told_of(tmp_path / "root")).__exit__(None, None, None)
    with open_root(str(tmp_path / "root")) as root, pytest.raises(CannotAct, match=why):
        connect(root, engine)


def test_processes_that_cannot_be_listed(answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answering(told_of(tmp_path / "root")).__exit__(None, None, None)

    def refused(_root: object, _proc: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(engineapi, "engines_on", refused)
    with open_root(str(tmp_path / "root")) as root, pytest.raises(CannotAct, match=r"cannot be listed \(EACCES\)"):
        connect(root, RUNNING)


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # of the docker package, which opens one before it connects
def test_nothing_answers(tmp_path: Path):
    with pytest.raises(EngineRefused, match="No such file or directory"):
        engineapi._client(str(tmp_path / "no socket"))
    gc.collect()
