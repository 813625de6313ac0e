from __future__ import annotations

import json

import pytest
from hypothesis import given
from support.totality import damaged, value_or_format_error

from gcd.formats.containerconfig import parse_container_config, parse_host_config
from gcd.model.errors import FormatError
from gcd.model.facts import ContainerConfig, HostConfig, ImageMountPoint, MountPoint

CID, IMAGE, DATA = "260d" * 16, f"sha256:{'8a' * 32}", f"sha256:{'65' * 32}"

STATE = {
    "Running": True,
    "Paused": False,
    "RemovalInProgress": False,
    "Dead": False,
    "Pid": 4711,
    "ExitCode": 0,
    "Error": "",
    "StartedAt": "2026-11-24T22:56:13.123456789Z",
    "FinishedAt": "0001-01-01T00:00:00Z",
    "Health": None,
}
VOLUME = {
    "Source": "/v/_data",
    "Destination": "/v",
    "RW": True,
    "Name": "v",
    "Driver": "local",
    "Type": "volume",
    "Spec": {},
}
# As 28.5 writes it.
IMAGE_MOUNT = {
    "Source": "/var/lib/docker/overlay2/46336b4b/merged",
    "Destination": "/data",
    "RW": False,
    "Name": "example.org/team/data:v1",
    "Driver": "",
    "Type": "image",
    "Propagation": "rprivate",
    "ID": f"{CID}-example.org/team/data:v1",
    "Spec": {"Type": "image", "Source": DATA, "Target": "/data"},
    "SkipMountpointCreation": False,
}
CONFIG = {
    "State": STATE,
    "ID": CID,
    "Created": "2026-11-24T22:56:13.1Z",
    "Managed": False,
    "Path": "sh",
    "Args": ["-c", "sleep 1"],
    "Config": {
        "Image": "app:1",
        "Env": ["TOKEN=hunter2"],
        "Labels": {"secret": "hunter2"},
        "Cmd": ["sh"],
        "Tty": False,
    },
    "Image": IMAGE,
    "NetworkSettings": {},
    "LogPath": "",
    "Name": "/web",
    "Driver": "overlay2",
    "OS": "linux",
    "RestartCount": 0,
    "MountPoints": {"/v": VOLUME, "/data": IMAGE_MOUNT},
    "SecretReferences": None,
    "AppArmorProfile": "",
    "NoNewPrivileges": False,
}
HOST_CONFIG = {
    "Binds": ["/a:/b"],
    "NetworkMode": "default",
    "PortBindings": {},
    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    "AutoRemove": True,
    "Dns": [],
    "ShmSize": 67108864,
    "Tmpfs": {"/t": "size=1m"},
    "Init": None,
}


def raw(**changes: object) -> bytes:
    return json.dumps(CONFIG | changes).encode() + b"\n"


def refusal(config: bytes) -> FormatError:
    with pytest.raises(FormatError) as error:
        parse_container_config(config)
    return error.value


def test_what_gcd_needs_of_a_container():
    assert parse_container_config(raw()) == ContainerConfig(
        id=CID,
        name="/web",
        image=IMAGE,
        image_reference="app:1",
        driver="overlay2",
        running=True,
        dead=False,
        removal_in_progress=False,
        has_config=True,
        image_mounts=(ImageMountPoint("/data", f"{CID}-example.org/team/data:v1", "example.org/team/data:v1"),),
        mount_points=(
            MountPoint("/v", "volume", "v", "/v/_data", "local", is_writable=True),
            MountPoint(
                "/data",
                "image",
                "example.org/team/data:v1",
                "/var/lib/docker/overlay2/46336b4b/merged",
                "",
                is_writable=False,
            ),
        ),
        labels=(("secret", "hunter2"),),
    )


def test_every_field_is_found_whatever_the_case_of_its_key():
    points = {"/v": VOLUME, "/data": IMAGE_MOUNT, "/unnamed": IMAGE_MOUNT | {"Name": ""}}
    changes = {
        "sTATE": swapped(STATE),
        "cONFIG": swapped(CONFIG["Config"]),
        "mOUNTpOINTS": {path: swapped(point) | {"sPEC": swapped(point["Spec"])} for path, point in points.items()},
    }
    swapped_config = json.dumps(swapped(CONFIG) | changes).encode()
    assert parse_container_config(swapped_config) == parse_container_config(raw(MountPoints=points))
    host = swapped(HOST_CONFIG) | {"rESTARTpOLICY": swapped(HOST_CONFIG["RestartPolicy"])}
    assert parse_host_config(json.dumps(host).encode()) == parse_host_config(json.dumps(HOST_CONFIG).encode())


def swapped(members: dict[str, object]) -> dict[str, object]:
    return {key.swapcase(): value for key, value in members.items()}


def test_a_removal_that_has_begun():
    config = parse_container_config(raw(State=STATE | {"Running": False, "Dead": True, "RemovalInProgress": True}))
    assert (config.running, config.dead, config.removal_in_progress) == (False, True, True)


def test_a_config_of_null_is_loaded_and_marked():
    config = parse_container_config(raw(Config=None))
    assert (config.has_config, config.image_reference, config.id) == (False, "", CID)


@pytest.mark.parametrize("config", [b"{}", b"null", b'{"ID": null}', b"{} garbage"])
def test_without_an_id_the_engine_takes_the_directorys_name(config):
    container = parse_container_config(config)
    assert (container.id, container.has_config, container.image_mounts) == ("", False, ())


def test_an_empty_id_is_no_directorys_name():
    assert refusal(raw(ID="")).what == "config.v2.json: ID"


def test_a_state_of_null_is_refused_for_it_crashes_the_engine():
    assert refusal(raw(State=None)).found == "null"


def test_fields_that_every_engine_lacks_or_that_are_null_do_not_matter():
    parse_container_config(raw(MountPoints=None, Args=None, NetworkSettings=None, Unknown=[{}], Managed=None))


@pytest.mark.parametrize(
    ("changes", "source", "name"),
    [
        ({}, "example.org/team/data:v1", f"{CID}-example.org/team/data:v1"),
        ({"Name": "", "ID": ""}, DATA, ""),
        ({"Name": "", "Spec": None}, "/var/lib/docker/overlay2/46336b4b/merged", f"{CID}-example.org/team/data:v1"),
    ],
)
def test_the_image_of_a_mount_is_named_as_well_as_the_file_does(changes, source, name):
    config = parse_container_config(raw(MountPoints={"/data": IMAGE_MOUNT | changes, "/none": None}))
    assert config.image_mounts == (ImageMountPoint("/data", name, source),)


@pytest.mark.parametrize(
    "changes",
    [
        *({"ID": 1}, {"Name": []}, {"Image": {}}, {"Driver": False}, {"Config": []}, {"Config": {"Image": 1}}),
        *({"State": []}, {"State": {"Running": "true"}}, {"State": {"Pid": "1"}}, {"State": {"Pid": 1.5}}),
        *({"State": {"StartedAt": ""}}, {"Created": "yesterday"}, {"RestartCount": "0"}, {"MountPoints": []}),
        *(
            {"MountPoints": {"/x": 1}},
            {"MountPoints": {"/x": {"RW": 1}}},
            {"MountPoints": {"/x": {"Spec": {"Type": 1}}}},
        ),
        *({"Args": "sh"}, {"Managed": 0}, {"Config": {"Labels": {"a": 1}}}, {"Config": {"Env": [1]}}),
    ],
)
def test_one_field_of_the_wrong_kind_makes_a_container_unloadable(changes):
    assert refusal(raw(**changes)).what.startswith("config.v2.json")


@pytest.mark.parametrize("config", [b"", b"\0" * 4096, raw()[:-10], b"[]", b'"x"'])
def test_what_does_not_decode_is_refused(config):
    assert refusal(config).what == "config.v2.json"


def test_no_environment_leaves_the_parser_and_no_label_is_printed():
    assert "hunter2" not in repr(parse_container_config(raw()))
    assert "hunter2" not in str(refusal(raw().replace(b'hunter2"', b'hunter2" hunter2')))
    assert "hunter2" not in str(refusal(raw(Config={"Env": "TOKEN=hunter2"})))


def test_what_gcd_needs_of_a_host_config():
    host = json.dumps(HOST_CONFIG).encode()
    assert parse_host_config(host + b"{") == HostConfig(auto_remove=True, restart_policy="on-failure")
    assert parse_host_config(b"{}") == HostConfig(auto_remove=False, restart_policy="")


@pytest.mark.parametrize(
    "host",
    [
        *(b"", b"null", b"[]", b'{"AutoRemove": 1}', b'{"RestartPolicy": "no"}', b'{"RestartPolicy": {"Name": 1}}'),
        *(
            b'{"RestartPolicy": {"MaximumRetryCount": "3"}}',
            b'{"Binds": "/a"}',
            b'{"Tmpfs": {"/t": 1}}',
            b'{"ShmSize": 1.5}',
        ),
    ],
)
def test_a_host_config_that_makes_a_container_unloadable(host):
    with pytest.raises(FormatError) as error:
        parse_host_config(host)
    assert error.value.what.startswith("hostconfig.json")


@given(damaged(raw()))
def test_any_bytes_are_a_container_or_refused(config):
    value_or_format_error(parse_container_config, config)


@given(damaged(json.dumps(HOST_CONFIG).encode()))
def test_any_bytes_are_a_host_config_or_refused(host):
    value_or_format_error(parse_host_config, host)
