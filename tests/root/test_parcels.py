from __future__ import annotations

import pickle

import pytest

from gcd.model.facts import Container, ContainerConfig, FileType, HostConfig, Image, ImageConfig, MountPoint
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.root import parcels

CONTAINER = Container(
    "c" * 64,
    Present(
        ContainerConfig(
            id="",
            name="/web",
            image="",
            image_reference="",
            driver="overlay2",
            running=True,
            dead=False,
            removal_in_progress=False,
            has_config=True,
            mount_points=(MountPoint("/v", "volume", "v", "/s\udcff", "local", is_writable=False),),
            labels=(("a", "b"),),
        )
    ),
    Present(HostConfig(auto_remove=False, restart_policy="no")),
    1 << 62,
    (".tmp-1",),
)


@pytest.mark.parametrize(
    "value",
    [
        {CONTAINER.id: CONTAINER},
        [Image(f"sha256:{'1' * 64}", reading, None, -1) for reading in (ABSENT, EMPTY, Unreadable("EIO"))],
        Image("", Present(ImageConfig((), "linux")), "", 0),
        (Malformed("a", "b", 3), FileType.SYMLINK, None, True, b"x"),
    ],
)
def test_what_comes_out_is_what_was_put_in(value):
    assert parcels.loads(parcels.dumps(value)) == value


def test_a_record_is_written_down_as_its_class_and_its_values():
    """Not with the state that a frozen record with slots has for pickle, which is told by what sets it."""
    assert b"HostConfig" in parcels.dumps(CONTAINER)
    assert len(parcels.dumps(CONTAINER)) < len(pickle.dumps(CONTAINER))
    assert parcels.loads(parcels.dumps(CONTAINER)).config.value.mount_points[0].source == "/s\udcff"


def test_records_of_the_same_value_stay_apart_and_the_same_stays_one():
    one, other = Present("x" * 9), Present("x" * 9)
    first, again, third = parcels.loads(parcels.dumps((one, one, other)))
    assert (first is again, first is third) == (True, False)
