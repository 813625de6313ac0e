"""What is compiled when gcd is installed, which is left out where there is no C compiler."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

IS_COMPILED = importlib.util.find_spec("gcd.root._listing") is not None
listing = importlib.import_module("gcd.root._listing") if IS_COMPILED else None
files = importlib.import_module("gcd.root._files") if IS_COMPILED else None
sound = importlib.import_module("gcd.root._sound") if IS_COMPILED else None
bundle = importlib.import_module("gcd.formats._bundle") if IS_COMPILED else None
glance = importlib.import_module("gcd.scrub._glance") if IS_COMPILED else None

needs_compiled = pytest.mark.skipif(not IS_COMPILED, reason="there was no C compiler, or no Python.h, at `make setup`")
LISTING = pytest.param(listing, id="compiled", marks=needs_compiled)
FILES = pytest.param(files, id="compiled", marks=needs_compiled)
SOUND = pytest.param(sound, id="compiled", marks=needs_compiled)
BUNDLE = pytest.param(bundle, id="compiled", marks=needs_compiled)
GLANCE = pytest.param(glance, id="compiled", marks=needs_compiled)
