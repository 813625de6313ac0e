"""Moved to `gcd.model.layout`."""

from gcd.model.layout import *  # noqa: F403
from gcd.model.layout import _hex as _hex
