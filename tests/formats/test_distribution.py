from __future__ import annotations

import pytest

from gcd.formats.distribution import check_diff_id, check_sources
from gcd.model.errors import FormatError

DIGEST = b"sha256:" + b"a" * 64


@pytest.mark.parametrize("raw", [DIGEST, DIGEST + b"\n"])
def test_a_diff_id(raw):
    check_diff_id(raw)


@pytest.mark.parametrize("raw", [b"sha256:", b"sha256:" + b"g" * 64, b"\xff", b"[]"])
def test_no_diff_id(raw):
    with pytest.raises(FormatError):
        check_diff_id(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"null",
        b"[null]",
        b'[{"Digest":"sha256:x","SourceRepository":"docker.io/library/app","HMAC":""}]',
        b'[{"Digest":"","later":7}]',
    ],
)
def test_sources_that_the_engine_takes(raw):
    check_sources(raw)


@pytest.mark.parametrize("raw", [b"{}", b"[", b"[7]", b'[{"Digest":7}]', b'"x"', b"[] x"])
def test_sources_that_the_engine_refuses(raw):
    with pytest.raises(FormatError):
        check_sources(raw)
