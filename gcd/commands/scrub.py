"""``gcd scrub``: is what layers hold still what was unpacked into them?"""

from __future__ import annotations

import os
import platform
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct
from msgspec.structs import replace
from pydantic import TypeAdapter, ValidationError

from gcd.commands.check import FAIL_ON
from gcd.commands.output import keep_out, write
from gcd.commands.progress import ScrubBar
from gcd.commands.terminal import width_and_colour
from gcd.daemon.gentle import be_gentle
from gcd.formats.escape import escaped
from gcd.model.content import Course, Depth, Sweep
from gcd.model.errors import CannotCheck, ExitBits, UsageError
from gcd.model.finding import Severity
from gcd.model.ids import ChainId
from gcd.model.inventory import Coverage, Source
from gcd.model.reading import value_of
from gcd.model.scrubbed import Again, Scrubbed
from gcd.model.storegraph import StoreGraph
from gcd.planning import identity_of
from gcd.report.scrub_json import scrub_json
from gcd.report.scrub_text import scrub_text
from gcd.root.discover import detect_store, find_root
from gcd.root.tree import open_root
from gcd.rules.content import content_findings
from gcd.rules.pulling import pull_again
from gcd.run import reader
from gcd.scrub.layer import Manner, verify
from gcd.scrub.order import PERCENT, chosen, layers_of, remaining
from gcd.scrub.pace import PRESSURE, Pace
from gcd.scrub.platforms import others
from gcd.scrub.reading import Contents
from gcd.scrubbing import alone, is_under_way, work
from gcd.scrubs import Scrubs
from gcd.settings import FailOn, ReportFormat, Settings, load
from gcd.settings.forms import Duration, Size
from gcd.state import open_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta
    from typing import Any

    from gcd.model.finding import Finding, FindingId
    from gcd.model.ids import LayerDirId
    from gcd.model.inventory import Inventory
    from gcd.model.plan import Identity
    from gcd.root.discover import Store


def _duration(text: str) -> timedelta:
    found: timedelta = _checked(TypeAdapter(Duration), text)
    return found


def _size(text: str) -> int:
    found: int = _checked(TypeAdapter(Size), text)
    if found <= 0:
        raise click.BadParameter(f"{text!r} would never end")
    return found


def _percent(text: str) -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = 0.0
    if not 0 < number <= PERCENT:
        raise click.BadParameter(f"{text!r} is no part of all, such as 10%")
    return number


def _checked(kind: TypeAdapter[Any], text: str) -> Any:  # noqa: ANN401 - whatever the kind is of
    try:
        return kind.validate_python(text)
    except ValidationError as error:
        raise click.BadParameter(f"{text!r}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


class _Place(Struct, frozen=True):
    """A root, and where what is known of it is kept."""

    settings: Settings
    store: Store
    identity: Identity

    @contextmanager
    def scrubs(self) -> Iterator[Scrubs]:
        with open_state(self.settings.state_dir) as state:
            yield Scrubs(state, self.identity, self.store.path)


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine."),
        click.option(
            "--format", "form", type=click.Choice([str(form) for form in ReportFormat]), help="text (default) or json."
        ),
        click.option(
            "--fail-on",
            type=click.Choice([str(level) for level in FailOn]),
            help="The least severity that makes the exit status 4 (default: warning).",
        ),
        click.option("--output", metavar="FILE", help="Write the report to FILE, not to stdout."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _working(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--max-duration", type=_duration, metavar="TIME", help="Begin no layer after so long: 90m, 2h."),
        click.option("--bandwidth", type=_size, metavar="SIZE", help="Read at most so many bytes a second: 50MiB."),
        click.option("--no-yield", is_flag=True, help="Do not give way to others that wait for the disk."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def scrub() -> None:
    """
    Compare what layers hold with what was unpacked into them. Changes nothing in a Docker root.

    Verdicts are kept in the state directory, layer by layer; the engine may run.
    """


@scrub.command()
@click.option("--quick", "is_quick", is_flag=True, help="Types, sizes and the CRC-64 of each file (the default).")
@click.option("--full", "is_full", is_flag=True, help="The same, and the SHA-256 of each layer's whole stream.")
@click.option("--metadata", is_flag=True, help="Compare modes, owners and extended attributes too, as info.")
@click.option("--max-age", type=_duration, metavar="TIME", help="Leave out what was looked at within it: 30d.")
@click.option(
    "--subset", type=_percent, metavar="PART", help="Only so many of the layers, by bytes, oldest first: 10%."
)
@_working
@_common
def start(
    *,
    is_quick: bool,
    is_full: bool,
    metadata: bool,
    max_age: timedelta | None,
    subset: float | None,
    max_duration: timedelta | None,
    bandwidth: int | None,
    no_yield: bool,
    **said: str | None,
) -> ExitBits:
    """Look at all layers, those first that were not looked at for longest; the report comes at the end."""
    if is_quick and is_full:
        raise UsageError("a scrub is --quick or --full, not both")
    place = _place(said)
    depth = Depth.FULL if is_full else Depth.QUICK
    with alone(place.settings.state_dir, place.identity), place.scrubs() as scrubs:
        inventory = _inventory(place.store)
        layers = layers_of(inventory.layers)
        scrubs.forget_others(_dirs(inventory))
        now_ns = time.time_ns()
        since = None if max_age is None else now_ns - int(max_age.total_seconds() * 1e9)
        chains = chosen(layers, scrubs.verdicts(), depth, older_than_ns=since, percent=subset or PERCENT)
        scrubs.begin(Sweep(Course.RUNNING, now_ns, depth, metadata, chains))
        _go_on(place, inventory, scrubs, max_duration, bandwidth, no_yield=no_yield)
        return _reported(place, scrubs, said["output"])


@scrub.command()
@_working
@_common
def resume(*, max_duration: timedelta | None, bandwidth: int | None, no_yield: bool, **said: str | None) -> ExitBits:
    """Go on with a scrub that was paused, stopped or cut short."""
    place = _place(said)
    with alone(place.settings.state_dir, place.identity), place.scrubs() as scrubs:
        if scrubs.sweep() is None:
            raise UsageError("there is no scrub to go on with: gcd scrub start")
        inventory = _inventory(place.store)
        scrubs.forget_others(_dirs(inventory))
        scrubs.steer(Course.RUNNING)
        _go_on(place, inventory, scrubs, max_duration, bandwidth, no_yield=no_yield)
        return _reported(place, scrubs, said["output"])


@scrub.command()
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
def pause(*, root: str | None) -> ExitBits:
    """Have the scrub that is under way end for now; gcd scrub resume goes on."""
    return _steered(root, Course.PAUSED)


@scrub.command()
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
def stop(*, root: str | None) -> ExitBits:
    """Have the scrub that is under way end for good; its verdicts stay."""
    return _steered(root, Course.STOPPED)


@scrub.command()
@_common
def status(**said: str | None) -> ExitBits:
    """Say what is known of the content of all layers, and how far the last scrub is."""
    place = _place(said)
    with place.scrubs() as scrubs:
        return _reported(place, scrubs, said["output"])


def look_again(root: str | None, ids: Sequence[str]) -> None:
    """Replace the verdicts on the layers that the findings `ids` are about: something was done about them."""
    place = _place({"root": root})
    with place.scrubs() as scrubs, open_root(place.store.path) as directory, Contents(Pace()) as contents:
        layers = layers_of(_inventory(place.store).layers)
        known = scrubs.verdicts()
        for chain in {ChainId(name.partition(":layer:")[2]) for name in ids} & layers.keys() & known.keys():
            manner = Manner(known[chain].depth)
            verdict = verify(directory, layers[chain], contents, manner, now_ns=time.time_ns())
            if verdict is not None:
                scrubs.keep(verdict)


def _place(said: dict[str, str | None]) -> _Place:
    flags = {"root": said["root"], "format": said.get("form"), "fail_on": said.get("fail_on")}
    settings = load(flags).settings
    store = detect_store(find_root(None if settings.root is None else str(settings.root)))
    keep_out(store.path, "scrub", {"--output": said.get("output"), "state_dir": str(settings.state_dir)})
    if os.geteuid() not in {0, Path(store.path).stat().st_uid}:
        raise CannotCheck("only root may read the content of layers: run gcd with sudo")
    return _Place(settings, store, identity_of(store.path))


def _steered(root: str | None, course: Course) -> ExitBits:
    place = _place({"root": root})
    with place.scrubs() as scrubs:
        sweep = scrubs.sweep()
        if sweep is None or sweep.course is Course.FINISHED:
            raise UsageError(f"there is no scrub to be {course}")
        scrubs.steer(course)
    click.echo(f"The scrub is {course}.")
    return ExitBits.CLEAN


def _go_on(
    place: _Place,
    inventory: Inventory,
    scrubs: Scrubs,
    max_duration: timedelta | None,
    bandwidth: int | None,
    *,
    no_yield: bool,
) -> None:
    sweep = scrubs.sweep()
    assert sweep is not None
    be_gentle()
    pace = Pace(bandwidth, pressure="" if no_yield else PRESSURE)
    seconds = None if max_duration is None else max_duration.total_seconds()
    with ExitStack() as stack:
        root = stack.enter_context(open_root(place.store.path))
        contents = stack.enter_context(Contents(pace, has_fork=True))
        told = stack.enter_context(ScrubBar())
        work(root, layers_of(inventory.layers), scrubs, place.scrubs, sweep, contents, told, seconds=seconds)


def _inventory(store: Store) -> Inventory:
    """`CannotCheck` where the layers could not be listed whole: what is not listed is neither sound nor gone."""
    inventory = reader(store, now_ns=time.time_ns())()
    layers = inventory.sources[Source.LAYERS]
    if layers.coverage is not Coverage.OK:
        raise CannotCheck(f"the layers of {escaped(store.path)} cannot be listed: {layers.why}")
    return inventory


def _dirs(inventory: Inventory) -> dict[ChainId, LayerDirId | None]:
    return {chain: value_of(record.cache_id) for chain, record in inventory.layers.items()}


def _reported(place: _Place, scrubs: Scrubs, output: str | None) -> ExitBits:
    """Tell what is known by now, about the root as it is by now."""
    scrubbed = _scrubbed(place, scrubs)
    if place.settings.format is ReportFormat.JSON:
        report = scrub_json(scrubbed)
    elif output is None:
        width, colour = width_and_colour()
        report = scrub_text(scrubbed, width=width, colour=colour)
    else:
        report = scrub_text(scrubbed)
    if output is None:
        click.echo(report, nl=False)
    else:
        write(output, report)
    fail_on = FAIL_ON[place.settings.fail_on]
    is_bad = fail_on is not None and any(f.severity.rank >= fail_on.rank for f in scrubbed.findings)
    return ExitBits.FINDINGS_LEFT if is_bad else ExitBits.CLEAN


def _scrubbed(place: _Place, scrubs: Scrubs) -> Scrubbed:
    inventory = _inventory(place.store)
    layers = layers_of(inventory.layers)
    verdicts = {
        chain: verdict
        for chain, verdict in scrubs.verdicts().items()
        if chain in layers and layers[chain].layer_dir == verdict.layer_dir
    }
    inventory = replace(inventory, contents=verdicts)
    graph = StoreGraph(inventory, inventory.engine.proof_bound(time.time_ns()))
    findings = sorted(content_findings(inventory, graph), key=lambda f: (-f.severity.rank, f.code, f.subject))
    sweep = scrubs.sweep()
    left = () if sweep is None else remaining(sweep, layers, verdicts)
    return Scrubbed(
        root=place.store.path,
        sweep=sweep,
        is_under_way=is_under_way(place.settings.state_dir, place.identity),
        layers=len(inventory.layers),
        left=len(left),
        left_bytes=sum(layer.size for layer in left),
        verdicts=verdicts,
        findings=tuple(findings),
        again=_again(inventory, graph, findings),
    )


def _again(inventory: Inventory, graph: StoreGraph, findings: list[Finding]) -> dict[FindingId, Again]:
    found = {}
    needed = [finding for finding in findings if finding.severity is not Severity.INFO]
    if not needed:
        return {}
    with open_root(inventory.root) as root:
        platforms = others(root, inventory.images, platform.machine())
    for finding in needed:
        way = pull_again(inventory, graph, ChainId(finding.subject.id), platforms)
        found[finding.id] = Again(way.commands, way.containers, way.made)
    return found
