"""The paths of findings are the paths that the readers open."""

import pytest

from gcd.model import paths
from gcd.root import layout

DIGEST = "sha256:" + "5" * 64
NAME = "a" * 64


@pytest.mark.parametrize(
    ("path_of", "place_of", "identifier"),
    [
        (paths.layer_dir_path, layout.layer_dir, NAME),
        (paths.link_path, layout.link_symlink, "L" * 26),
        (paths.link_target, layout.link_target, NAME),
        (paths.layer_record_path, layout.layer_record, DIGEST),
        (paths.removing_record_path, layout.removing_record, f"{NAME}-{NAME}-removing"),
        (paths.write_set_path, layout.write_set, "write-set-1"),
        (paths.rw_layer_path, layout.rw_layer_record, f"{NAME}-docker.io/library/app:1"),
        (paths.image_config_path, layout.image_config, DIGEST),
        (paths.image_metadata_path, layout.image_metadata, DIGEST),
        (paths.container_path, layout.container, NAME),
        (paths.build_database_path, layout.build_database, "snapshots.db"),
    ],
)
def test_same_place_as_the_readers(path_of, place_of, identifier):
    assert path_of(identifier) == place_of(identifier)


def test_same_single_places_as_the_readers():
    assert layout.link_farm() == paths.LINK_FARM
    assert layout.repositories() == paths.REPOSITORIES
