"""
Hatchling's hook: compiles each ``gcd/**/_*.c`` into the wheel, by the stable ABI, for every Python from 3.11 on.

Where there is no compiler, or no ``Python.h``, the wheel is one of pure Python: beside each of these files stands a
module that does the same, or does without. Nothing is written into the source, which may be read-only, unless it is
installed to be edited: then what is compiled lies where it will be imported. ``python deploy/wheel.py`` compiles it
there anew.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path(__file__).resolve().parent.parent
PARTS = sorted((SOURCE / "gcd").rglob("_*.c"))
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread", "-DPy_LIMITED_API=0x030b0000")


class CompiledParts(BuildHookInterface[Any]):
    """Found by Hatchling as the only hook of this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        is_edited = version == "editable"
        self._scratch = tempfile.TemporaryDirectory()
        targets = {
            part: compiled(part) if is_edited else Path(self._scratch.name) / compiled(part).name for part in PARTS
        }
        if is_edited:
            for target in targets.values():
                target.unlink(missing_ok=True)
        try:
            for part, target in targets.items():
                compile_part(part, target)
        except (OSError, subprocess.CalledProcessError) as error:
            said = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            self.app.display_warning(f"nothing of gcd was compiled; it will read more slowly: {said}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
        if not is_edited:
            build_data["force_include"] |= {
                str(target): str(compiled(part).relative_to(SOURCE)) for part, target in targets.items()
            }

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - Hatchling's
        self._scratch.cleanup()


def compiled(part: Path) -> Path:
    """Where what is compiled of `part` is imported from."""
    return part.with_suffix(".abi3.so")


def compile_part(part: Path, target: Path) -> None:
    """Raises OSError where there is no compiler, CalledProcessError where it could not compile."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = sysconfig.get_path("include")
    command = [*compiler, *FLAGS, f"-I{include}", str(part), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the user's own compiler


if __name__ == "__main__":
    for source in PARTS:
        compile_part(source, compiled(source))
