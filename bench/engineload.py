"""
How long a real dockerd takes to load its layer store: the time between two lines of its log in debug mode.

``backingFs=…, projectQuotaSupported=…`` is the last that the overlay2 driver says before the layer store is loaded,
``Max Concurrent Downloads: …`` the first that is said after it (moby 20.10 ``daemon/graphdriver/overlay2/overlay.go``
Init, ``daemon/daemon.go`` NewDaemon: between them lie the making of the image root's directories and
``layer.NewStoreFromOptions``, which loads all layer and rw layer records). The same lines stand there in 26.1 and 28.5;
``GCD_ENGINE_CHROOT`` names a Debian whose dockerd it is, as for tests.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.engine import Engine, engine_lack, inside

__all__ = ["engine_lack", "layer_store_seconds"]

FROM, TO = "backingFs=", "Max Concurrent Downloads:"
START_LIMIT = 300.0
_TIME = re.compile(r'time="([^"]+)"')


def layer_store_seconds(home: Path) -> float:
    """One start of dockerd on ``home/root``, which is killed again as soon as it answers."""
    (home / "log").unlink(missing_ok=True)
    # A pid that a killed engine left there may be somebody else's by now, and dockerd would wait for it.
    shutil.rmtree(home / "exec", ignore_errors=True)
    chroot = os.environ.get("GCD_ENGINE_CHROOT")
    engine = Engine(home, flags=("--debug",), command=inside(Path(chroot), home) if chroot else ())
    try:
        engine.start(START_LIMIT)
    finally:
        engine.dispose()
    lines = engine.log.read_text(errors="replace").splitlines()
    began, ended = (next(line for line in lines if text in line) for text in (FROM, TO))
    return (_when(ended) - _when(began)).total_seconds()


def _when(line: str) -> datetime:
    match = _TIME.match(line)
    assert match is not None
    seconds, _, fraction = match[1].removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{seconds}.{fraction[:6]:0<6}+00:00")
