"""
The fault catalogue: for each planted fault, the exact set of findings that gcd must give, and nothing else.

An expectation names a code and the nodes it is about; severity is that of the table unless said otherwise. What a
finding costs is not written down but computed by `Oracle` from the root as it was before the fault, by other means
than gcd's: plain files, no graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from gcd.demo.faults.fault import Target
from gcd.demo.faults.targets import find_targets
from gcd.formats.bolt import parse_database
from gcd.formats.buildkit import read_words
from gcd.model.finding import Code, Confidence, Impact, Kind, Node, NodeKind, Severity
from gcd.model.ids import chain_ids, is_build_id
from gcd.rules.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gcd.demo.faults.fault import PlantedFault
    from gcd.model.finding import Finding

TABLE = {rule.code: rule for rule in RULES}


class Oracle:
    """What depends on what in a root that is still whole, read from its files as a person with a shell would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        image_tree = root / "image/overlay2"
        repositories = json.loads((image_tree / "repositories.json").read_bytes())["Repositories"]
        tags: dict[str, list[str]] = {}
        for references in repositories.values():
            for reference, image in references.items():
                tags.setdefault(image, []).append(reference)
        self.chains: dict[str, tuple[str, ...]] = {}
        for path in (image_tree / "imagedb/content/sha256").iterdir():
            config = json.loads(path.read_bytes())
            self.chains[f"sha256:{path.name}"] = chain_ids(tuple(config["rootfs"].get("diff_ids") or ()))
        self.tagged = set(tags)
        self.labels = {
            image: sorted(t for t in tags.get(image, ()) if "@" not in t) or sorted(tags.get(image, ())) or [image[:19]]
            for image in self.chains
        }
        self.containers = {
            path.name: json.loads((path / "config.v2.json").read_bytes()) for path in (root / "containers").iterdir()
        }
        self.cache_ids = {_text(p / "cache-id"): f"sha256:{p.name}" for p in (image_tree / "layerdb/sha256").iterdir()}
        mounts = image_tree / "layerdb/mounts"
        self.rw_dirs = {
            _text(path / name): path.name
            for path in (mounts.iterdir() if mounts.exists() else ())
            for name in ("mount-id", "init-id")
            if (path / name).exists()
        }

    @staticmethod
    def records_in(root: Path) -> set[str]:
        return {f"sha256:{path.name}" for path in (root / "image/overlay2/layerdb/sha256").iterdir()}

    def layer_dirs(self) -> set[str]:
        return {path.parent.name for path in (self.root / "overlay2").glob("*/link")}

    def children(self, chain: str) -> list[str]:
        records = (self.root / "image/overlay2/layerdb/sha256").glob("*/parent")
        return [f"sha256:{path.parent.name}" for path in records if _text(path) == chain]

    def images_with(self, chain: str) -> list[str]:
        return sorted(image for image, chains in self.chains.items() if chain in chains)

    def impact(self, node: Node, planted: Path) -> Impact:
        """What `node` costs; links are followed in the root as it is after the fault."""
        if node.kind is NodeKind.REPOSITORIES:
            return Impact(tuple(sorted(chain.from_iterable(map(self._names_proven, self.tagged)))))
        reached = self._dependents(node, planted)
        images = {n.id for n in reached if n.kind is NodeKind.IMAGE and n.id in self.chains}
        containers = {n.id for n in reached if n.id in self.containers}
        labels = {label for image in images for label in self.labels[image]}
        return Impact(tuple(sorted(labels)), tuple(sorted(self.name_of(container) for container in containers)))

    def _names_proven(self, image: str) -> list[str]:
        """What is left of the names of `image` when ``repositories.json`` is lost: those that containers say."""
        said = [str(made["Config"]["Image"]) for made in self.containers.values() if made["Image"] == image]
        full = {name if ":" in name else f"{name}:latest" for name in said}
        return sorted(full.intersection(self.labels[image])) or [image[:19]]

    def name_of(self, container: str) -> str:
        return str(self.containers[container]["Name"]).removeprefix("/")

    def _dependents(self, node: Node, planted: Path) -> set[Node]:
        reached = {node}
        waiting = [node]
        while waiting:
            found = set(self._directly_on(waiting.pop(), planted)) - reached
            reached |= found
            waiting += found
        return reached

    def _directly_on(self, node: Node, planted: Path) -> Iterator[Node]:
        match node.kind:
            case NodeKind.IMAGE:
                yield from (
                    Node(NodeKind.CONTAINER, c) for c, made in self.containers.items() if made["Image"] == node.id
                )
            case NodeKind.LAYER:
                yield from (Node(NodeKind.IMAGE, image) for image in self.images_with(node.id))
            case NodeKind.LAYER_DIR:
                yield from self._owners(node.id)
                yield from (Node(NodeKind.LINK, link) for link in self._links_of(node.id))
            case NodeKind.LINK:
                for lower in (planted / "overlay2").glob("*/lower"):
                    if node.id in lower.read_text(errors="replace"):
                        yield Node(NodeKind.LAYER_DIR, lower.parent.name)
                for path in (self.root / "overlay2").glob("*/link"):
                    if _text(path) == node.id:
                        yield from self._owners(path.parent.name)
            case _:
                pass

    def _owners(self, layer_dir: str) -> Iterator[Node]:
        if layer_dir in self.cache_ids:
            yield Node(NodeKind.LAYER, self.cache_ids[layer_dir])
        if layer_dir in self.rw_dirs:
            yield Node(NodeKind.RW_LAYER, self.rw_dirs[layer_dir])

    def _links_of(self, layer_dir: str) -> list[str]:
        path = self.root / "overlay2" / layer_dir / "link"
        return [_text(path)] if path.exists() else []


@dataclass(frozen=True)
class Expect:
    """
    A finding: `about` is a role of `_nodes` ("planted", "images", "rw-dir", …), `cause` and `blocked_by` are the codes
    of findings in the same set.
    """

    code: str
    about: str = "planted"
    severity: Severity | None = None
    cause: str = ""
    blocked_by: tuple[str, ...] = ()
    costs: bool = True
    impact_of: str = ""
    """The role of the node whose dependents are counted, where that is not the one that the finding is about."""
    is_nameless: bool = False
    """The container's name was in the file that is lost: its id stands for it."""


@dataclass(frozen=True)
class Case:
    expected: tuple[Expect, ...]
    unread: frozenset[str] = field(default_factory=frozenset)
    """Sources that cannot be read; all rules that need one of them are named as not checked."""


def _case(*expected: Expect, unread: tuple[str, ...] = ()) -> Case:
    return Case(expected, frozenset(unread))


def _only(code: str, severity: Severity | None = None) -> Case:
    return _case(Expect(code, severity=severity))


def _vanishing(code: str) -> Case:
    """A record that the engine does not load any more: the images that stand on it vanish with it."""
    return _case(Expect(code), Expect("GCD402", "images", cause=code))


_BUILDS_UNKNOWN = _case(
    Expect("GCD504"),
    Expect("GCD102", "unnamed-build-dirs", blocked_by=("GCD504",)),
    Expect("GCD211", "layers-without-image", blocked_by=("GCD504",)),
)

CASES: Mapping[str, Case] = {
    "add_layer_dir": _only("GCD101"),
    "add_layer_dir_without_symlink": _only("GCD101"),
    "add_layer_dir_upon": _only("GCD101"),
    "add_nascent_dir": _only("GCD101"),
    "add_empty_rw_pair": _only("GCD101"),
    "add_init_dir_alone": _only("GCD101"),
    "add_build_dir": _only("GCD102"),
    "add_build_dir_upon": _only("GCD102"),
    "drop_link_symlink": _only("GCD103"),
    "drop_link_farm": _case(Expect("GCD103", "every-dir")),
    "empty_link_farm": _case(Expect("GCD103", "every-dir")),
    "cite_unknown_link": _only("GCD103"),
    "add_dangling_symlink": _only("GCD104"),
    "add_stray_symlink": _only("GCD104"),
    "point_link_to_another_dir": _only("GCD105"),
    "point_link_outside": _only("GCD105"),
    "point_link_absolutely": _only("GCD105"),
    "point_link_to_itself": _only("GCD105"),
    "empty_link_file": _only("GCD106"),
    "drop_link_file": _only("GCD106"),
    "garble_link_file": _only("GCD106"),
    "drop_link_file_and_symlink": _only("GCD106"),
    "drop_lower": _only("GCD107"),
    "empty_lower": _only("GCD108"),
    "begin_lower_with_bare_farm": _only("GCD108"),
    "cut_lower": _only("GCD108"),
    "reverse_lower": _only("GCD109"),
    "shorten_lower": _only("GCD109"),
    "drop_work_dir": _only("GCD110"),
    "drop_diff_dir": _only("GCD111"),
    "turn_link_farm_into_file": _case(Expect("GCD112", costs=False)),
    "turn_link_farm_into_symlink": _case(Expect("GCD112", costs=False)),
    "add_probe_leftover": _only("GCD113"),
    "leak_mount": _only("GCD114"),
    "occupy_mountpoint": _only("GCD115"),
    "add_filled_rw_pair": _only("GCD116"),
    "drop_layer_dir": _only("GCD201"),
    "add_empty_record": _only("GCD202"),
    "empty_record_files": _vanishing("GCD202"),
    "drop_record_files": _vanishing("GCD202"),
    "empty_diff_id": _vanishing("GCD203"),
    "drop_diff_id": _vanishing("GCD203"),
    "garble_diff_id": _vanishing("GCD203"),
    "empty_size": _vanishing("GCD204"),
    "drop_size": _vanishing("GCD204"),
    "end_size_with_newline": _vanishing("GCD204"),
    "drop_parent": _only("GCD205"),
    "empty_parent": _vanishing("GCD205"),
    "empty_cache_id": _vanishing("GCD206"),
    "drop_cache_id": _vanishing("GCD206"),
    "share_cache_id": _case(Expect("GCD207"), Expect("GCD207", "copy")),
    "empty_descriptor": _vanishing("GCD208"),
    "cut_tar_split": _only("GCD209"),
    "drop_tar_split": _only("GCD209"),
    "garble_tar_split": _only("GCD209"),
    "forge_diff_id": _only("GCD210"),
    "add_unused_layer": _only("GCD211"),
    "add_unused_layer_upon": _only("GCD211"),
    "drop_parent_record": _case(
        Expect("GCD212"), Expect("GCD402", "images", cause="GCD212"), Expect("GCD402", "images-of-parent")
    ),
    "tie_chain_into_ring": _case(
        Expect("GCD210", "base-layer"),
        Expect("GCD212", "ring", impact_of="base-layer"),
        Expect("GCD402", "images-on-base", cause="GCD212"),
    ),
    "empty_mount_id": _only("GCD301"),
    "drop_mount_id": _only("GCD301"),
    "garble_mount_id": _only("GCD301"),
    "empty_init_id": _only("GCD302"),
    "drop_init_id": _only("GCD302", Severity.WARNING),
    "drop_rw_parent": _only("GCD303"),
    "empty_rw_parent": _only("GCD303"),
    "drop_container": _case(Expect("GCD304", costs=False)),
    "drop_rw_record": _case(Expect("GCD305"), Expect("GCD116", "rw-dir", blocked_by=("GCD305",))),
    "drop_rw_dir": _only("GCD306"),
    "drop_rw_dirs": _only("GCD306"),
    "empty_container_config": _case(Expect("GCD307", severity=Severity.ERROR, is_nameless=True)),
    "drop_container_config": _case(Expect("GCD307", severity=Severity.ERROR, is_nameless=True)),
    "garble_container_config": _case(Expect("GCD307", severity=Severity.ERROR, is_nameless=True)),
    "nullify_process_config": _only("GCD307", Severity.CRITICAL),
    "empty_host_config": _only("GCD307", Severity.ERROR),
    "change_container_id": _only("GCD308"),
    "mark_dead": _only("GCD309"),
    "mark_dead_and_drop_rw_layer": _only("GCD309"),
    "add_build_view": _only("GCD310"),
    "add_build_rw_layer": _only("GCD310"),
    "flip_bit_of_image_config": _only("GCD401"),
    "empty_image_config": _only("GCD401"),
    "empty_repositories": _case(Expect("GCD403"), unread=("repositories",)),
    "cut_repositories": _case(Expect("GCD403"), unread=("repositories",)),
    "drop_repositories": _case(Expect("GCD404")),
    "clear_repositories": _case(Expect("GCD404")),
    "name_missing_image": _only("GCD405"),
    "name_missing_image_by_digest": _only("GCD405"),
    "add_metadata_without_image": _only("GCD406"),
    "name_missing_parent": _only("GCD406"),
    "empty_last_updated": _only("GCD406"),
    "spoil_diff_id_of_archive": _only("GCD407"),
    "empty_sources_of_layer": _only("GCD407"),
    "add_write_set": _only("GCD601"),
    "add_write_set_with_dir": _only("GCD601"),
    "add_removing_record": _only("GCD602"),
    "add_removing_record_without_dir": _only("GCD602"),
    "add_removing_record_without_cache_id": _only("GCD602"),
    "add_removing_record_of_live_dir": _only("GCD602"),
    "leave_temporary_link": _only("GCD603"),
    "leave_temporary_lower": _only("GCD603"),
    "leave_temporary_image_config": _only("GCD603"),
    "leave_temporary_repositories": _only("GCD603"),
    "leave_temporary_container_config": _only("GCD603"),
    "leave_temporary_host_config": _only("GCD603"),
    "leave_download": _only("GCD604"),
    "leave_load": _only("GCD604"),
    "add_removing_plugin": _only("GCD605"),
    "add_plugin_without_config": _only("GCD605"),
    "drop_top_layer_record": _case(Expect("GCD212", "children"), Expect("GCD402", "images")),
    "spoil_build_snapshots": _case(Expect("GCD501"), unread=("build-snapshots",)),
    "spoil_build_records": _case(Expect("GCD501"), unread=("build-records",)),
    "spoil_build_leases": _case(Expect("GCD501"), unread=("build-leases",)),
    "cut_build_snapshots": _case(Expect("GCD501"), unread=("build-snapshots",)),
    "empty_build_snapshots": _BUILDS_UNKNOWN,
    "drop_build_dir": _only("GCD502"),
    "forget_build_record": _only("GCD503"),
    "drop_build_snapshots": _BUILDS_UNKNOWN,
    "drop_build_databases": _BUILDS_UNKNOWN,
    "turn_rw_layers_into_file": _case(Expect("GCD801"), unread=("rw-layers",)),
    "turn_layers_into_symlink": _case(Expect("GCD801"), unread=("layers",)),
    "turn_containers_into_file": _case(Expect("GCD801"), unread=("containers",)),
    "turn_image_configs_into_file": _case(Expect("GCD801"), unread=("images",)),
    "add_dormant_driver": _only("GCD802"),
    "add_dormant_user_namespace": _only("GCD802"),
    "spoil_volume_database": _only("GCD803"),
    "empty_volume_options": _only("GCD805"),
    "garble_volume_options": _only("GCD805"),
}


@dataclass(frozen=True)
class Seen:
    """A finding, as far as the catalogue fixes it."""

    code: str
    subject: Node
    severity: Severity
    confidence: Confidence
    impact: Impact
    cause: str
    blocked_by: tuple[str, ...]


def seen(findings: tuple[Finding, ...]) -> list[Seen]:
    codes = {finding.id: finding.code for finding in findings}
    found = [
        Seen(
            f.code,
            f.subject,
            f.severity,
            f.confidence,
            f.impact,
            codes.get(f.cause, "") if f.cause else "",
            tuple(codes.get(b, b) for b in f.blocked_by),
        )
        for f in findings
    ]
    return sorted(found, key=lambda s: (s.code, s.subject))


def expected(fault: PlantedFault, node: Node, oracle: Oracle, planted: Path) -> list[Seen]:
    targets = find_targets(oracle.root)
    found = [
        _expected(expect, about, _nodes(expect.impact_of, node, targets, oracle, planted), oracle, planted)
        for expect in CASES[fault.name].expected
        for about in _nodes(expect.about, node, targets, oracle, planted)
    ]
    return sorted(found, key=lambda s: (s.code, s.subject))


def unread_rules(fault: PlantedFault) -> set[tuple[str, str]]:
    return {(r.code, s) for r in RULES for s in r.needs if s in CASES[fault.name].unread}


def _expected(expect: Expect, about: Node, impact_of: list[Node], oracle: Oracle, planted: Path) -> Seen:
    rule = TABLE[Code(expect.code)]
    if rule.kind is Kind.ORPHAN or not expect.costs:
        impact = Impact()
    elif expect.is_nameless:
        impact = Impact((), (about.id[:12],))
    else:
        impact = oracle.impact(next(iter(impact_of), about), planted)
    severity = expect.severity or rule.severity
    return Seen(expect.code, about, severity, Confidence.PROVEN, impact, expect.cause, expect.blocked_by)


def _nodes(about: str, node: Node, targets: Mapping[Target, str], oracle: Oracle, planted: Path) -> list[Node]:
    """The nodes that have the role `about`; none has the role ""."""
    if about in ("", "planted"):
        return [node] if about else []
    kind, ids = _ROLES[about]
    return [Node(kind, id_) for id_ in ids(targets, oracle, planted)]


Ids = Callable[["Mapping[Target, str]", Oracle, "Path"], Iterable[str]]


def _chains(targets: Mapping[Target, str], oracle: Oracle) -> tuple[str, ...]:
    return oracle.chains[targets[Target.IMAGE]]


def _images_of_parent(targets: Mapping[Target, str], oracle: Oracle, _planted: Path) -> set[str]:
    return set(oracle.images_with(_chains(targets, oracle)[-2])) - set(oracle.images_with(targets[Target.LAYER]))


def _layers_without_image(_targets: Mapping[Target, str], oracle: Oracle, _planted: Path) -> set[str]:
    return {*oracle.cache_ids.values()} - {*chain.from_iterable(oracle.chains.values())}


_ROLES: Mapping[str, tuple[NodeKind, Ids]] = {
    "base-layer": (NodeKind.LAYER, lambda targets, _o, _p: [targets[Target.BASE_LAYER]]),
    "ring": (NodeKind.LAYER, lambda targets, oracle, _p: [min(_chains(targets, oracle))]),
    "children": (NodeKind.LAYER, lambda targets, oracle, _p: oracle.children(targets[Target.LAYER])),
    "copy": (NodeKind.LAYER, lambda _t, oracle, planted: Oracle.records_in(planted) - Oracle.records_in(oracle.root)),
    "layers-without-image": (NodeKind.LAYER, _layers_without_image),
    "images": (NodeKind.IMAGE, lambda targets, oracle, _p: oracle.images_with(targets[Target.LAYER])),
    "images-of-parent": (NodeKind.IMAGE, _images_of_parent),
    "images-on-base": (NodeKind.IMAGE, lambda targets, oracle, _p: oracle.images_with(targets[Target.BASE_LAYER])),
    "rw-dir": (NodeKind.LAYER_DIR, lambda targets, _o, _p: [targets[Target.RW_DIR]]),
    "every-dir": (NodeKind.LAYER_DIR, lambda _t, oracle, _p: oracle.layer_dirs()),
    "unnamed-build-dirs": (NodeKind.LAYER_DIR, lambda _t, oracle, planted: _unnamed_build_dirs(oracle, planted)),
}


def _unnamed_build_dirs(oracle: Oracle, planted: Path) -> set[str]:
    return {name for name in oracle.layer_dirs() - {*oracle.cache_ids, *_build_words(planted)} if is_build_id(name)}


def _build_words(planted: Path) -> set[str]:
    paths = [planted / "buildkit" / name for name in ("snapshots.db", "metadata_v2.db", "containerdmeta.db")]
    whole = [parse_database(path.read_bytes()) for path in paths if path.exists() and path.stat().st_size]
    return {word for database in whole for word in read_words(database)[0]}


def _text(path: Path) -> str:
    return path.read_text().strip()
