"""
Hatchling's hook: compiles ``gcd/root/_bulk.c`` into the wheel, by the stable ABI, for every Python from 3.11 on.

Where there is no compiler, or no ``Python.h``, the wheel is one of pure Python, and what it installs reads a root with
`gcd.root.bulk` and `gcd.root.listing` alone. Nothing is written into the source, which may be read-only, unless it is
installed to be edited: then what is compiled lies where it will be imported.
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

SOURCE = Path(__file__).resolve().parent.parent / "gcd" / "root" / "_bulk.c"
NAME = "_bulk.abi3.so"
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-DPy_LIMITED_API=0x030b0000")


class CompiledReader(BuildHookInterface[Any]):
    """Found by Hatchling as the only hook of this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        is_edited = version == "editable"
        self._scratch = tempfile.TemporaryDirectory()
        target = SOURCE.with_name(NAME) if is_edited else Path(self._scratch.name) / NAME
        if is_edited:
            target.unlink(missing_ok=True)
        try:
            compile_reader(target)
        except (OSError, subprocess.CalledProcessError) as error:
            said = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            self.app.display_warning(f"{SOURCE.name} was not compiled; gcd will read roots more slowly: {said}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
        if not is_edited:
            build_data["force_include"][str(target)] = f"gcd/root/{NAME}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - Hatchling's
        self._scratch.cleanup()


def compile_reader(target: Path) -> None:
    """Raises OSError where there is no compiler, CalledProcessError where it could not compile."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = sysconfig.get_path("include")
    command = [*compiler, *FLAGS, f"-I{include}", str(SOURCE), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the user's own compiler
