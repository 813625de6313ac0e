"""The processes that this one began and has not waited for: engines and servers that tests share among them."""

from __future__ import annotations

from pathlib import Path


def offspring() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
