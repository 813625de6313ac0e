"""
The architecture, held by reading the source: who may import whom, what pure packages never touch, who may write.

The arrows are those of the design: one direction, from bytes to a result, and no way back.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gcd
from gcd.rules.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(gcd.__file__).resolve().parent

ARROWS: dict[str, set[str]] = {
    "gcd": set(),
    "gcd.model": set(),
    "gcd.formats": {"gcd.model"},
    "gcd.root": {"gcd.model", "gcd.formats"},
    "gcd.rules": {"gcd.model"},
    "gcd.policy": {"gcd.model"},
    "gcd.mends": {"gcd.model", "gcd.formats", "gcd.rules"},
    "gcd.actions": {"gcd.model", "gcd.formats", "gcd.root", "gcd.rules", "gcd.policy"},
    "gcd.report": {"gcd", "gcd.model", "gcd.formats.escape", "gcd.inspect.view"},
    "gcd.state": {"gcd.model"},
    "gcd.scrubs": {"gcd.model", "gcd.state"},
    "gcd.reportfile": set(),
    "gcd.inspect": {"gcd.model"},
    "gcd.demo": {"gcd.model", "gcd.formats"},
    "gcd.watch": {"gcd.model"},
    "gcd.notify": set(),
    "gcd.metrics": {"gcd", "gcd.model", "gcd.rules"},
    "gcd.web": {"gcd", "gcd.model", "gcd.report", "gcd.rules", "gcd.metrics"},
    "gcd.scrub": {"gcd.model", "gcd.formats", "gcd.root"},
}
"""What each unit may import of gcd, beside itself. Units that are not named are edges, and may import anything."""
EDGES = {
    "gcd.run", "gcd.recheck", "gcd.planning", "gcd.hooks", "gcd.diskusage", "gcd.scrubbing", "gcd.cli", "gcd.commands",
    "gcd.settings", "gcd.logs", "gcd.daemon",
}  # fmt: skip

PURE = {"gcd.model", "gcd.formats", "gcd.rules", "gcd.policy", "gcd.mends", "gcd.inspect", "gcd.report", "gcd.metrics"}
IMPURE_MODULES = {"os", "time", "random", "socket", "pathlib", "shutil", "subprocess", "tempfile", "threading", "sys"}
IMPURE_NAMES = {"open", "print", "input"}

WRITERS = {"gcd.actions", "gcd.demo", "gcd.state", "gcd.reportfile"}
WRITING_ATTRIBUTES = {
    "chmod", "chown", "fchmod", "fchown", "ftruncate", "hardlink_to", "lchown", "makedirs", "mkdir", "mkfifo", "mknod",
    "removedirs", "removexattr", "renames", "rmdir", "rmtree", "setxattr", "symlink_to", "touch", "truncate", "unlink",
    "utime", "write_bytes", "write_text", "O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE",
}  # fmt: skip
WRITING_ON_OS = {"link", "pwrite", "remove", "rename", "replace", "symlink", "write", "writev"}

RULE_MODULES = {rule.check.__module__ for rule in RULES}

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 50


def unit_of(module: str) -> str:
    """``gcd.root.tree`` belongs to ``gcd.root``."""
    return ".".join(module.split(".")[:2])


def module_of(path: Path, package: Path) -> str:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(part for part in parts if part != "__init__")


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module, names, level):
                assert level == 0, f"line {node.lineno}: relative import"
                assert module is not None
                for alias in names:
                    named = f"{module}.{alias.name}"
                    is_module = (PACKAGE.parent / named.replace(".", "/")).with_suffix(".py").is_file()
                    is_package = (PACKAGE.parent / named.replace(".", "/")).is_dir()
                    yield node.lineno, named if is_module or is_package else module


def forbidden_imports(module: str, tree: ast.Module) -> Iterator[str]:
    unit = unit_of(module)
    allowed = ARROWS.get(unit)
    for line, imported in imports(tree):
        if imported.split(".")[0] != "gcd":
            if unit in PURE and imported.split(".")[0] in IMPURE_MODULES:
                yield f"{module}:{line} is pure and imports {imported}"
        elif allowed is not None and not any(
            imported == target or (imported.startswith(target + ".") and target != "gcd") for target in {*allowed, unit}
        ):
            yield f"{module}:{line} {unit} imports {imported}"


def impure_names(module: str, tree: ast.Module) -> Iterator[str]:
    if unit_of(module) in PURE:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_NAMES:
                yield f"{module}:{node.lineno} is pure and calls {node.func.id}"


def writes(module: str, tree: ast.Module) -> Iterator[str]:
    if unit_of(module) in WRITERS:
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in WRITING_ATTRIBUTES:
                yield f"{module}:{node.lineno} uses {name}"
            case ast.Attribute(value=ast.Name(id="os" | "shutil"), attr=name) if name in WRITING_ON_OS | {"move"}:
                yield f"{module}:{node.lineno} uses {name}"
            case ast.Call(func=ast.Name(id="open") | ast.Attribute(attr="open")) if opens_for_writing(node):
                yield f"{module}:{node.lineno} opens for writing"


def opens_for_writing(call: ast.Call) -> bool:
    modes = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    return any(len(text) <= 3 and set(text) & set("wax+") and set(text) <= set("rwaxbt+") for text in texts)


def long_functions(module: str, tree: ast.Module) -> Iterator[str]:
    """Docstrings do not count: those of rules are a page of the manual."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                assert first.end_lineno is not None
                lines -= first.end_lineno - first.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{module}:{node.lineno} {node.name} has {lines} lines"


def modules() -> list[tuple[str, Path]]:
    return sorted((module_of(path, PACKAGE), path) for path in PACKAGE.rglob("*.py"))


def rules_of_rules(module: str, tree: ast.Module) -> Iterator[str]:
    """A module with rules in it is imported by the table of all, and by no other module of rules."""
    if unit_of(module) == "gcd.rules" and module != "gcd.rules.table":
        for line, imported in imports(tree):
            if imported in RULE_MODULES:
                yield f"{module}:{line} imports the rules of {imported}"


CHECKS = (forbidden_imports, impure_names, writes, long_functions, rules_of_rules)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_source(check):
    told = [line for module, path in modules() for line in check(module, ast.parse(path.read_text()))]

    assert told == []


def test_files_stay_short():
    long = {module: n for module, path in modules() if (n := path.read_text().count("\n")) > MAX_FILE_LINES}

    assert long == {}


@pytest.mark.parametrize(
    "name", ["model", "model/facts", "formats", "root", "rules", "policy", "report", "watch", "scrub", "web", "metrics"]
)
def test_a_package_tells_what_is_in_it(name):
    folder = PACKAGE / name
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    told = re.findall(r"^    ([a-z_0-9]+\.(?:py|c)|[a-z]+/) +\S", text, re.MULTILINE)
    there = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in folder.iterdir()
        if path.name[:2] != "__" and path.suffix in {"", ".py", ".c"}
    }

    assert len(told) == len(set(told))
    assert set(told) == there


def test_every_unit_has_its_place():
    assert {unit_of(module) for module, _ in modules()} - set(ARROWS) - EDGES == set()


@pytest.mark.parametrize(
    ("module", "source", "check"),
    [
        ("gcd.model.x", "from gcd.root import tree", forbidden_imports),
        ("gcd.model.x", "import os", forbidden_imports),
        ("gcd.rules.x", "from time import time", forbidden_imports),
        ("gcd.rules.x", "from gcd.policy.confidence import judge", forbidden_imports),
        ("gcd.rules.x", "from gcd.rules.orphans import orphaned_layer_dir", rules_of_rules),
        ("gcd.rules.x", "from gcd.rules import host", rules_of_rules),
        ("gcd.report.x", "from gcd.formats.bolt import Database", forbidden_imports),
        ("gcd.demo.x", "from gcd.root.tree import Directory", forbidden_imports),
        ("gcd.model.x", "open('x')", impure_names),
        ("gcd.root.x", "import os\nos.unlink('x')", writes),
        ("gcd.root.x", "import os\nos.rename('x', 'y')", writes),
        ("gcd.root.x", "import os\nos.open('x', os.O_RDWR)", writes),
        ("gcd.root.x", "path.open('wb')", writes),
        ("gcd.root.x", "open('x', mode='a')", writes),
        ("gcd.cli", "path.write_text('x')", writes),
    ],
)
def test_a_trespass_is_seen(module, source, check):
    assert len(list(check(module, ast.parse(source)))) >= 1


@pytest.mark.parametrize(
    ("module", "source", "check"),
    [
        ("gcd.model.x", "from gcd.model.ids import ChainId", forbidden_imports),
        ("gcd.report.x", "from gcd import __version__\nfrom gcd.formats.escape import escaped", forbidden_imports),
        ("gcd.rules.x", "from gcd.rules.needs import LAYERS", rules_of_rules),
        ("gcd.root.x", "'text'.replace('x', 'w')", writes),
        ("gcd.root.x", "directory.open('overlay2')", writes),
        ("gcd.demo.x", "path.write_text('x')", writes),
        ("gcd.run", "from gcd.root.tree import Directory", forbidden_imports),
    ],
)
def test_what_is_allowed_passes(module, source, check):
    assert list(check(module, ast.parse(source))) == []
