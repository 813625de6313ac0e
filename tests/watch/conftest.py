from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from support.watching import make_folders


@pytest.fixture
def quick(tmp_path):
    """A root in memory, where there is such a place: disks that others use take seconds for a thousand entries."""
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path)
    yield make_folders(Path(folder) / "root")
    shutil.rmtree(folder)
