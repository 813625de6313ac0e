"""``python -m gcd.settings`` prints the annotated sample that is kept as ``config/gcd.toml``."""

from __future__ import annotations

import sys

from gcd.settings.sample import sample

sys.stdout.write(sample())
