"""
A plan as JSON: what ``gcd plan -o`` saves, and ``gcd apply FILE`` reads back, without loss.

::

    {"schema": 2, "digest", "root", "identity": {"device", "inode", "engine_id"},
     "engine": {"state", "pid", "epoch_ns", "doubts", "others"}, "read_ns", "refusal",
     "steps": [{"repair": {"changes": [<change>, …], "foretold"}, "finding": {…}} |
               {"release": {"chain"}, "finding": {…}} |
               {"quarantine": {"paths"}, "finding": {…}}],
     "left_alone": [{"reason", "why", "finding": {…}}], "not_checked": [{"code", "name", "source", "why"}]}

    a change: {"write": {"path", "like", "base64"}} | {"symlink": {"path", "target"}} | {"aside": {"path"}} |
              {"directory": {"path", "mode", "like"}} | {"drop_reference": {"path", "reference", "image"}} |
              {"hard_link": {"path", "to"}} |
              {"copy": {"path", "source", "bytes", "sha256", "modified_ns",
                        "worn": null | {"mode", "uid", "gid", "attributes": [{"name", "base64"}]}}}

What is printed has ``{"write": {"path", "like", "bytes", "sha256"}}`` instead: a file that a repair writes may be the
config of a container, with the secrets in its environment. It is described by ``docs/plan.schema.json``.

`digest` is the SHA-256 of the rest of a saved plan, as JSON with sorted keys and nothing between its tokens: whoever
changes a saved plan gets no other plan, but none. The reader is strict: every key must be there and no other. Times are
nanoseconds of the wall clock. The output is ASCII, so that no name of a root can reach a terminal.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from gcd.formats.escape import escaped
from gcd.formats.findings import Object, choice, finding_from, finding_value
from gcd.formats.strictjson import Fields, read_object, text_value
from gcd.model.content import MOST_OWNER, Worn, is_attribute
from gcd.model.errors import FormatError
from gcd.model.facts import Engine, EngineState
from gcd.model.finding import Code, NotChecked
from gcd.model.ids import ChainId, ImageId, is_digest
from gcd.model.inventory import Source
from gcd.model.plan import (
    CopyFile,
    DropReference,
    Identity,
    LeftAlone,
    LinkFile,
    MakeDirectory,
    MakeSymlink,
    Mend,
    Move,
    Plan,
    Reason,
    Release,
    SetAside,
    WriteFile,
)

if TYPE_CHECKING:
    from gcd.model.plan import Change, Step

SCHEMA = 2
MOST_BYTES = 64 << 20
"""No saved plan is longer: some ten thousand steps."""

_WHAT = "plan"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST = (1 << 63) - 1
"""What the kernel takes for a size, and for nanoseconds."""

Content = Callable[[bytes], Object]


def _whole_content(content: bytes) -> Object:
    return {"base64": base64.b64encode(content).decode("ascii")}


def _shown_content(content: bytes) -> Object:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def plan_json(plan: Plan) -> str:
    """As it is saved."""
    return _text_of({"schema": SCHEMA, "digest": plan_digest(plan), **plan_value(plan)})


def shown_plan_json(plan: Plan) -> str:
    """As it is printed."""
    return _text_of(shown_plan(plan))


def shown_plan(plan: Plan) -> Object:
    """`plan` without the content of any file, which no plan can be read from."""
    return {"schema": SCHEMA, "digest": plan_digest(plan), **plan_value(plan, _shown_content)}


def _text_of(document: Object) -> str:
    return json.dumps(document, indent=2) + "\n"


def plan_digest(plan: Plan) -> str:
    """By what a saved plan is known, so that it is applied only once: 64 hex digits."""
    text = json.dumps(plan_value(plan), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def parse_plan(raw: bytes) -> Plan:
    """
    The plan in `raw`; `FormatError` if it is none, was changed, or is of another schema: of an older one too, for a
    plan is good for an hour.
    """
    if len(raw) > MOST_BYTES:
        raise FormatError(_WHAT, expected=f"at most {MOST_BYTES} bytes", found="more")
    fields = read_object(raw, _WHAT)
    if (schema := fields.integer("schema")) != SCHEMA:
        raise FormatError(_WHAT, expected=f"schema {SCHEMA}", found=f"schema {schema}, of another version of gcd")
    digest = fields.text("digest")
    plan = Plan(
        root=fields.text("root"),
        identity=_identity_from(fields.fields("identity")),
        engine=_engine_from(fields.fields("engine")),
        read_ns=fields.integer("read_ns"),
        refusal=fields.text("refusal"),
        steps=tuple(_step_from(step) for step in fields.objects("steps")),
        left_alone=tuple(_left_from(left) for left in fields.objects("left_alone")),
        not_checked=tuple(_not_checked_from(item) for item in fields.objects("not_checked")),
    )
    fields.end()
    if digest != plan_digest(plan):
        raise FormatError(_WHAT, expected="what its digest says", found="something else: it was changed")
    return plan


def plan_value(plan: Plan, content: Content = _whole_content) -> Object:
    """`plan` without what only its file has; `content` says of a file what it is to hold."""
    identity, engine = plan.identity, plan.engine
    return {
        "root": text_value(plan.root),
        "identity": {
            "device": identity.device,
            "inode": identity.inode,
            "engine_id": text_value(identity.engine_id),
        },
        "engine": {
            "state": engine.state,
            "pid": engine.pid,
            "epoch_ns": engine.epoch_ns,
            "doubts": [text_value(doubt) for doubt in engine.doubts],
            "others": list(engine.others),
        },
        "read_ns": plan.read_ns,
        "refusal": text_value(plan.refusal),
        "steps": [_step_value(step, content) for step in plan.steps],
        "left_alone": [
            {"reason": left.reason, "why": text_value(left.why), "finding": finding_value(left.finding)}
            for left in plan.left_alone
        ],
        "not_checked": [
            {"code": item.code, "name": item.name, "source": item.source, "why": text_value(item.why)}
            for item in plan.not_checked
        ],
    }


def _step_value(step: Step, content: Content) -> Object:
    finding = finding_value(step.finding)
    match step:
        case Mend():
            changes = [_change_value(change, content) for change in step.changes]
            return {"repair": {"changes": changes, "foretold": text_value(step.foretold)}, "finding": finding}
        case Release():
            return {"release": {"chain": text_value(step.chain)}, "finding": finding}
        case Move():
            return {"quarantine": {"paths": [text_value(path) for path in step.paths]}, "finding": finding}
        case _:
            assert_never(step)


def _step_from(fields: Fields) -> Step:
    finding = finding_from(fields.fields("finding"))
    match kind := _only_key(fields):
        case "repair":
            said = fields.fields(kind)
            changes = tuple(_change_from(change) for change in said.objects("changes"))
            step: Step = Mend(finding, changes, said.text("foretold"))
        case "release":
            said = fields.fields(kind)
            step = Release(finding, ChainId(_digest(said, "chain")))
        case "quarantine":
            said = fields.fields(kind)
            step = Move(finding, said.texts("paths"))
        case _:
            raise FormatError(fields.what, expected="repair, release or quarantine", found=escaped(kind))
    said.end()
    return step


def _change_value(change: Change, content: Content) -> Object:
    said: Object
    match change:
        case WriteFile():
            kind, said = "write", {"like": text_value(change.like), **content(change.content)}
        case CopyFile():
            copied = {"bytes": change.size, "sha256": change.sha256, "modified_ns": change.modified_ns}
            worn = None if change.worn is None else _worn_value(change.worn)
            kind, said = "copy", {"source": text_value(change.source), **copied, "worn": worn}
        case LinkFile():
            kind, said = "hard_link", {"to": text_value(change.to)}
        case MakeSymlink():
            kind, said = "symlink", {"target": text_value(change.target)}
        case MakeDirectory():
            kind, said = "directory", {"mode": change.mode, "like": text_value(change.like)}
        case SetAside():
            kind, said = "aside", {}
        case DropReference():
            kind = "drop_reference"
            said = {"reference": text_value(change.reference), "image": text_value(change.image)}
        case _:
            assert_never(change)
    return {kind: {"path": text_value(change.path), **said}}


def _change_from(fields: Fields) -> Change:
    kind = _only_key(fields)
    said = fields.fields(kind)
    match kind:
        case "write":
            change: Change = WriteFile(said.text("path"), _content(said), said.text("like"))
        case "copy":
            path, source, size = said.text("path"), said.text("source"), _amount(said, "bytes")
            sha256, modified_ns = _sha256(said), _amount(said, "modified_ns")
            worn = _worn_from(said.fields("worn")) if said.stated("worn") else None
            change = CopyFile(path, source, size, sha256, modified_ns, worn)
        case "hard_link":
            change = LinkFile(said.text("path"), said.text("to"))
        case "symlink":
            change = MakeSymlink(said.text("path"), said.text("target"))
        case "directory":
            change = MakeDirectory(said.text("path"), said.integer("mode"), said.text("like"))
        case "aside":
            change = SetAside(said.text("path"))
        case "drop_reference":
            change = DropReference(said.text("path"), said.text("reference"), ImageId(_digest(said, "image")))
        case _:
            raise FormatError(fields.what, expected="a kind of change", found=escaped(kind))
    said.end()
    return change


def _worn_value(worn: Worn) -> Object:
    attributes = [{"name": text_value(name), **_whole_content(value)} for name, value in worn.attributes]
    return {"mode": worn.mode, "uid": worn.uid, "gid": worn.gid, "attributes": attributes}


def _worn_from(fields: Fields) -> Worn:
    mode, uid, gid = (_amount(fields, name) for name in ("mode", "uid", "gid"))
    if mode != stat.S_IMODE(mode) or max(uid, gid) > MOST_OWNER:
        raise FormatError(fields.what, expected="a mode and an owner", found=f"{mode:o}, {uid} and {gid}")
    attributes = []
    for item in fields.objects("attributes"):
        name = item.text("name")
        if not is_attribute(name):
            raise FormatError(fields.what, expected="the name of an attribute", found=escaped(name))
        attributes.append((name, _content(item)))
        item.end()
    fields.end()
    return Worn(mode, uid, gid, tuple(attributes))


def _left_from(fields: Fields) -> LeftAlone:
    left = LeftAlone(finding_from(fields.fields("finding")), choice(fields, "reason", Reason), fields.text("why"))
    fields.end()
    return left


def _not_checked_from(fields: Fields) -> NotChecked:
    source = choice(fields, "source", Source)
    item = NotChecked(Code(fields.text("code")), fields.text("name"), source, fields.text("why"))
    fields.end()
    return item


def _identity_from(fields: Fields) -> Identity:
    identity = Identity(fields.integer("device"), fields.integer("inode"), fields.text("engine_id"))
    fields.end()
    return identity


def _engine_from(fields: Fields) -> Engine:
    engine = Engine(
        choice(fields, "state", EngineState),
        fields.integer("pid") if fields.stated("pid") else None,
        fields.integer("epoch_ns") if fields.stated("epoch_ns") else None,
        fields.texts("doubts"),
        fields.integers("others"),
    )
    fields.end()
    return engine


def _only_key(fields: Fields) -> str:
    """The one key that is left of an object."""
    if len(fields.left) != 1:
        raise FormatError(fields.what, expected="one kind", found=str(len(fields.left)))
    return fields.left[0]


def _digest(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if not is_digest(text):
        raise FormatError(f"{fields.what}: {name}", expected="sha256: and 64 hex digits", found=escaped(text))
    return text


def _amount(fields: Fields, name: str) -> int:
    number = fields.integer(name)
    if not 0 <= number <= _MOST:
        raise FormatError(f"{fields.what}: {name}", expected="a number of 63 bits", found=str(number))
    return number


def _sha256(fields: Fields) -> str:
    text = fields.text("sha256")
    if _SHA256.fullmatch(text) is None:
        raise FormatError(f"{fields.what}: sha256", expected="64 hex digits", found=escaped(text))
    return text


def _content(fields: Fields) -> bytes:
    try:
        return base64.b64decode(fields.text("base64"), validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(f"{fields.what}: base64", expected="base64", found="something else") from None
