"""Ids that are a test's own."""

from __future__ import annotations

import itertools
import os

_numbers = itertools.count()


def own_seed() -> str:
    """
    For a ``DockerRoot`` whose ids no other has, here or in a run beside this one.

    Mounts and open files are told by the ids in their paths, in every namespace of the machine. One that a test made
    and took away is for a while yet in the namespace of whoever made one meanwhile, as each engine that starts does.
    """
    return f"{os.getpid()}/{next(_numbers)}"
