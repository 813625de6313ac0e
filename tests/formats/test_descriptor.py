from __future__ import annotations

import pytest
from hypothesis import given
from support.totality import damaged, value_or_format_error

from gcd.formats.descriptor import check_descriptor, check_plugin_config, check_volume_options
from gcd.model.errors import FormatError

SOUND = b'{"mediaType": "application/x", "size": 7, "digest": "sha256:00", "urls": ["https://example.org"]}'


@pytest.mark.parametrize("raw", [SOUND, SOUND + b"\n", b"{}", b"null", b'{"size": null, "other": 1}'])
def test_descriptors_that_the_engine_takes(raw):
    check_descriptor(raw)


@pytest.mark.parametrize("raw", [b"", SOUND[:-1], SOUND + b"x", b"[]", b'{"size": "7"}', b'{"urls": "x"}', b"\0" * 9])
def test_descriptors_that_make_a_layer_unloadable(raw):
    with pytest.raises(FormatError) as error:
        check_descriptor(raw)
    assert error.value.what.startswith("descriptor.json")


def test_a_plugin_config_is_an_object():
    check_plugin_config(b'{"plugin": {"Id": "x"}}')
    for raw in (b"", b"[]", b"{}x"):
        with pytest.raises(FormatError, match="plugin config"):
            check_plugin_config(raw)


def test_volume_options_are_texts_and_a_quota():
    check_volume_options(b'{"MountType": "nfs", "MountOpts": "addr=x", "MountDevice": ":/x", "Quota": {"Size": 0}}')
    check_volume_options(b"null")
    for raw in (b"", b"[]", b'{"MountType": 1}', b'{"Quota": "1G"}'):
        with pytest.raises(FormatError, match=r"opts\.json"):
            check_volume_options(raw)


@given(damaged(SOUND))
def test_any_bytes_are_sound_or_refused(raw):
    value_or_format_error(check_descriptor, raw)
    value_or_format_error(check_plugin_config, raw)
    value_or_format_error(check_volume_options, raw)
