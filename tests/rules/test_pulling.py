"""What must go before a pull fetches a layer again, and how all of it comes back."""

from __future__ import annotations

import pytest
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    IMAGE,
    TOP_DIFF,
    graph_of,
    healthy_inventory,
    image,
    with_records,
)

from gcd.model.facts import Repositories
from gcd.model.ids import ImageId
from gcd.model.reading import Present
from gcd.rules.pulling import pull_again

DIGEST = "sha256:" + "d" * 64
OTHER = ImageId("sha256:" + "e" * 64)


def named(*names: str):
    return healthy_inventory(repositories=Present(Repositories(dict.fromkeys(names, IMAGE))))


def way_of(inventory):
    return pull_again(inventory, graph_of(inventory), BASE_CHAIN)


def test_what_no_registry_has_must_be_made_again():
    way = way_of(healthy_inventory())

    assert way.commands == ("docker rm -f -- web", "docker rmi -- app:latest")
    assert (way.pulled, way.made) == ((), ("app:latest",))


def test_it_is_pulled_by_its_digest_for_its_tags_may_have_moved():
    way = way_of(named("reg/app:v1", "reg/app:latest", f"reg/app@{DIGEST}", "mine:1"))

    assert way.commands == (
        f"docker manifest inspect -- reg/app@{DIGEST} >/dev/null",
        "docker rm -f -- web",
        "docker rmi -- mine:1",
        "docker rmi -- reg/app:latest",
        "docker rmi -- reg/app:v1",
        f"docker pull -- reg/app@{DIGEST}",
        f"docker tag -- reg/app@{DIGEST} mine:1",
        f"docker tag -- reg/app@{DIGEST} reg/app:latest",
        f"docker tag -- reg/app@{DIGEST} reg/app:v1",
    )
    assert way.made == ()


def test_a_digest_without_a_tag_in_its_repository_goes_by_itself():
    way = way_of(named("app:latest", f"reg/app@{DIGEST}"))

    assert way.removed == ("app:latest", f"reg/app@{DIGEST}")


def test_an_image_without_any_name_is_lost_and_named():
    way = way_of(with_records(healthy_inventory(), image(BASE_DIFF, TOP_DIFF, image_id=OTHER)))

    assert way.removed == ("app:latest", OTHER)
    assert way.made == ("app:latest", OTHER)


def test_a_name_is_no_option():
    assert way_of(named("--all")).commands[-1] == "docker rmi -- --all"


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        ("127.0.0.1:5000/app", "--insecure -- "),
        ("localhost/app", "--insecure -- "),
        ("127.0.0.1.example/app", "-- "),
        ("localhost.example/app", "-- "),
    ],
)
def test_a_registry_on_the_loopback_is_asked_without_tls_as_the_engine_does(repository, words):
    [first, *_] = way_of(named(f"{repository}@{DIGEST}")).commands

    assert first == f"docker manifest inspect {words}{repository}@{DIGEST} >/dev/null"


def test_an_image_of_another_platform_comes_back_as_such():
    inventory = named("reg/app:v1", f"reg/app@{DIGEST}")

    way = pull_again(inventory, graph_of(inventory), BASE_CHAIN, {IMAGE: "linux/arm/v7", OTHER: "linux/386"})

    assert way.commands[-2:] == (
        f"docker pull --platform linux/arm/v7 -- reg/app@{DIGEST}",
        f"docker tag -- reg/app@{DIGEST} reg/app:v1",
    )
