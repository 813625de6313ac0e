"""The page: what it says, how it is built, and that no name gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace
from support.published import MINUTE_NS, busy_daemon, published
from support.results import NOON_NS, damaged_host, finding, hex64, orphan, result, unchecked

from gcd.model.facts import Engine, EngineState
from gcd.model.finding import Acceptance, Confidence, Evidence, Impact, Kind, Node, NodeKind, Severity
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.published import Point, Scope
from gcd.web.page import POLICY, STYLE, Shot, first_page, page
from gcd.web.plot import HEIGHT, LEFT, RIGHT, TOP, WIDTH, plot

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e\udcff</style>{{7*7}}"
INLINE = {"a", "b", "code", "small", "span"}
VOID = {"meta", "link", "path", "circle"}


class Outline(HTMLParser):
    """Elements, texts and attributes of a document that closes whatever it opens."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.attributes = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.texts.append("" if tag in INLINE else " ")

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def shown(of, now_ns=NOON_NS, host="box-1"):
    text = page(Shot(of, host, now_ns)).decode()
    outline = Outline(text)
    assert outline.open == []
    return outline


def orphans(number):
    return [replace(orphan("a"), subject=Node(NodeKind.LAYER_DIR, f"{n:064x}")) for n in range(number)]


# --- what it says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "verdict"),
    [
        (result(), "Healthy"),
        (result(orphan("a", severity=Severity.INFO, confidence=Confidence.SUSPECTED)), "Healthy"),
        (result(orphan("a")), "Needs attention"),
        (damaged_host(), "Damaged"),
        (
            result(finding("GCD403", "x", Node(NodeKind.REPOSITORIES, "y"), severity=Severity.CRITICAL)),
            "The engine will not start",
        ),
        (result(not_checked=(unchecked("GCD102", "x"),)), "Not fully checked"),
        (
            result(
                finding(
                    "GCD305", "x", Node(NodeKind.CONTAINER, "y"), kind=Kind.DANGLING, severity=Severity.INFO,
                    confidence=Confidence.SUSPECTED,
                )
            ),
            "Perhaps damaged",
        ),
        (result(orphan("a", accepted=Acceptance("GCD101*", "known"))), "Healthy"),
    ],
)  # fmt: skip
def test_the_verdict(of, verdict):
    text = shown(published(of)).text

    assert text.startswith(f"{verdict}: gcd on box-1 ")
    assert f" {verdict} " in text


def test_a_failed_look_is_not_called_healthy():
    text = shown(published(has_failed=True, trouble="no right to read /x\x1b")).text

    assert text.startswith("Not known: ")
    assert "The last check failed, and what follows is older: no right to read /x\\x1b" in text


def test_a_damaged_host_is_told_with_what_to_do():
    text = shown(busy_daemon()).text

    assert (
        "Not healthy: 2 errors and 3 warnings; 2 image names and 2 containers affected; 2 rules could not be checked."
        in text
    )
    assert "Pull, load, remove or prune nothing until this is mended (GCD206)" in text
    assert "do, with the engine stopped gcd repair GCD206" in text
    assert "by hand, with the engine stopped write the cache-id that the content proves" in text
    assert "do gcd quarantine GCD101" in text
    assert f"explains error GCD402 image-unloadable: image:sha256:{hex64('d')}; costs" in text
    assert "costs 2 image names (shop/web:1.4," in text
    assert "build-snapshots busy: snapshots.db changed during 5 attempts GCD102, GCD502" in text
    assert "12 entries, 812.0 MiB, the oldest moved there 3 days ago. A purge frees that space" in text
    assert "can be put back. gcd quarantine list Since" in text
    assert "Full checks 43, the last 7 minutes ago" in text
    assert "Acts 12 quarantine done and 2 repair refused" in text
    assert "Freed 3.0 GiB" in text
    assert "Events seen 12034, 1 overflow" in text


def test_what_is_blocked_is_told_without_a_remedy():
    blocked = orphan("b", blocked_by=("GCD206:layer:x",))
    text = shown(published(result(blocked))).text

    assert "blocked: it may belong to GCD206:layer:x; mend that first" in text
    assert "gcd quarantine GCD101" not in text


def test_many_findings_are_cut_and_counted():
    many = orphans(25)
    text = shown(published(result(*many))).text

    assert text.count("layer-dir:") == 20
    assert "25 findings · 75.0 MiB" in text
    assert "and 5 more (15.0 MiB): gcd check --format json lists all" in text


def test_a_page_of_thousands_of_findings_is_still_one_for_people():
    many = orphans(4_000)

    assert len(page(Shot(published(result(*many)), "x", NOON_NS))) < 64_000


def test_nothing_found():
    assert "Findings Nothing was found. Quarantine Nothing was moved aside. Since gcd began" in shown(published()).text


def test_accepted_findings_are_apart():
    known = orphan("a", accepted=Acceptance("GCD101*", "kept for <b>legal</b>", until_ns=NOON_NS))
    text = shown(published(result(known))).text

    assert f"warning GCD101:layer-dir:{hex64('a')}: kept for <b>legal</b> (until 2025-11-25)" in text


def test_a_root_elsewhere_is_named_in_what_is_to_be_typed():
    assert "--root" not in shown(published(result(orphan("a")))).text
    assert "with --root /srv/docker unless" in shown(published(result(orphan("a"), root="/srv/docker"))).text


@pytest.mark.parametrize(
    ("later", "ago"),
    [
        (0, "0 seconds ago"),
        (1, "1 second ago"),
        (119, "119 seconds ago"),
        (120, "2 minutes ago"),
        (7_199, "119 minutes ago"),
        (86_399, "23 hours ago"),
        (86_400, "1 day ago"),
        (-90, "at 2025-11-25T12:00:00Z, which is in the future"),
    ],
)
def test_how_old_it_is(later, ago):
    assert f"checked {ago} " in shown(published(), NOON_NS + later * 1_000_000_000).text


def test_old_news_are_called_old():
    late = shown(published(checked_ns={Scope.FULL: NOON_NS}), NOON_NS + 61 * MINUTE_NS).text

    assert "The root was last read in full 61 minutes ago: see systemctl status gcd." in late
    assert "last read in full" not in shown(published(), NOON_NS + 59 * MINUTE_NS).text


def test_a_root_that_is_not_watched():
    assert "The root is not watched but looked at by the clock" in shown(published(is_watching=False)).text


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (Engine(EngineState.RUNNING, pid=7), "engine running (pid 7)"),
        (Engine(EngineState.RUNNING), "engine running"),
        (Engine(EngineState.STOPPED), "engine stopped"),
        (Engine(EngineState.UNKNOWN), "state of the engine unknown"),
    ],
)
def test_the_engine(engine, told):
    assert f" {told} 3 images " in shown(published(result(engine=engine))).text


def test_before_the_first_result():
    outline = Outline(first_page("<b>").decode())

    assert "The first check is under way" in outline.text
    assert "gcd on <b>" in outline.text


# --- hostile names --------------------------------------------------------------------------------------------------


def hostile_host():
    subject = Node(NodeKind.LINK, HOSTILE)
    bad = finding(
        "GCD104", "dangling-link-symlink", subject, kind=Kind.DANGLING, summary=HOSTILE,
        evidence=(Evidence(HOSTILE, HOSTILE, HOSTILE),), impact=Impact((HOSTILE,), (HOSTILE,)), paths=(HOSTILE,),
    )  # fmt: skip
    twin = orphan("a", blocked_by=(HOSTILE,), accepted=None)
    known = orphan("c", accepted=Acceptance(HOSTILE, HOSTILE))
    return published(
        result(
            bad, twin, known,
            root=f"/{HOSTILE}",
            sources={Source.IMAGES: SourceState(Coverage.UNREADABLE, HOSTILE)},
            not_checked=(unchecked("GCD102", "x"),),
            engine=Engine(EngineState.UNKNOWN, doubts=(HOSTILE,)),
        ),
        trouble=HOSTILE,
    )  # fmt: skip


def test_names_stay_names():
    plain, hostile = shown(busy_daemon()), shown(hostile_host(), host=HOSTILE)

    assert set(hostile.elements) <= set(plain.elements)
    assert "script" not in hostile.elements
    assert "<script>alert(1)</script>" in hostile.text
    assert "{{7*7}}" in hostile.text


def test_nothing_is_sent_that_turns_or_hides_text():
    sent = page(Shot(hostile_host(), HOSTILE, NOON_NS)).decode()

    assert [c for c in sent if not c.isprintable() and c != "\n"] == ["\xa0"] * sent.count("\xa0")
    assert "\\u202e" in sent
    assert "\\xff" in sent


# --- how it is built ------------------------------------------------------------------------------------------------


def test_nothing_comes_from_elsewhere_and_nothing_runs():
    outline = shown(busy_daemon())

    assert not {"script", "img", "iframe", "object", "form", "base"} & set(outline.elements)
    assert not {name for name, _ in outline.attributes if name.startswith("on") or name in {"style", "src"}}
    links = {value for name, value in outline.attributes if name == "href"}
    assert all(link.startswith(("/", "#", "data:image/svg+xml,")) for link in links)
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_the_policy_allows_this_style_and_no_other():
    text = page(Shot(busy_daemon(), "x", NOON_NS)).decode()
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)

    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in POLICY


def test_the_page_has_landmarks_one_heading_and_heads_of_tables():
    outline = shown(busy_daemon())

    assert ("lang", "en") in outline.attributes
    for once in ("h1", "main", "header", "footer", "nav", "title"):
        assert outline.elements.count(once) - (once == "title") * outline.elements.count("svg") <= 1
        assert once in outline.elements
    assert outline.elements.count("table") == outline.elements.count("thead")
    assert {value for name, value in outline.attributes if name == "scope"} == {"col", "row"}
    labels = {value for name, value in outline.attributes if name == "aria-labelledby"}
    assert labels <= {value for name, value in outline.attributes if name == "id"}


def colours(theme):
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light))
    return found if theme == "light" else found | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", dark))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read(theme):
    """WCAG 2.1, 1.4.3: 4.5 to 1 and more."""
    found = colours(theme)
    pairs = [(ink, ground) for ink in ("ink", "soft", "link") for ground in ("ground", "sheet", "sunk")]
    washes = ("critical", "error", "warning", "info", "healthy", "unknown")
    pairs += [(name, f"{name}-wash") for name in washes]
    pairs += [(ink, f"{name}-wash") for ink in ("ink", "soft") for name in washes]
    pairs += [("warning", "sheet"), ("curve", "ground")]

    ratios = {}
    for ink, ground in pairs:
        one, other = sorted((luminance(found[ink]), luminance(found[ground])))
        ratios[ink, ground] = round((other + 0.05) / (one + 0.05), 2)
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


# --- the curve ------------------------------------------------------------------------------------------------------


def test_a_curve_goes_in_steps_from_edge_to_edge():
    hour = 60 * MINUTE_NS
    drawn = plot([Point(NOON_NS, 0), Point(NOON_NS + hour, 1024), Point(NOON_NS + 2 * hour, 4096)])

    middle, right, bottom = (LEFT + WIDTH - RIGHT) / 2, float(WIDTH - RIGHT), HEIGHT - 26.0
    quarter = bottom - (bottom - TOP) / 4
    assert drawn.line == f"M{float(LEFT)} {bottom}H{middle}V{quarter}H{right}V{float(TOP)}"
    assert drawn.area == f"{drawn.line}V{bottom}H{float(LEFT)}Z"
    assert drawn.end == (right, TOP)
    assert [mark.text for mark in drawn.bytes_marks] == ["0 B", "1.0 KiB", "2.0 KiB", "3.0 KiB", "4.0 KiB"]
    assert [mark.text for mark in drawn.time_marks] == ["12:00", "12:30", "13:00", "13:30", "14:00"]
    assert drawn.said == (
        "Orphaned bytes from 2025-11-25 12:00 to 2025-11-25 14:00 UTC: 0 B at first, 4.0 KiB at most, 4.0 KiB now."
    )


@pytest.mark.parametrize("most", [0, 1, 1023, 1024, 5000, 1024**2, 3 * 1024**3, 900 * 1024**3, 1024**5, 2**62])
def test_a_scale_has_few_lines_and_holds_the_curve(most):
    drawn = plot([Point(NOON_NS, most), Point(NOON_NS + 1, 0)])

    assert 2 <= len(drawn.bytes_marks) <= 6
    assert drawn.bytes_marks[-1].at == TOP
    assert float(drawn.line.split()[1].split("H")[0]) >= TOP


def test_too_many_points_are_thinned_and_no_peak_is_lost():
    history = [Point(NOON_NS + n, 10 if n != 777 else 5000) for n in range(5000)]

    drawn = plot(history)

    assert drawn.line.count("H") < 300
    assert "5000" not in drawn.line
    assert drawn.said.endswith("10 B at first, 4.9 KiB at most, 10 B now.")


@pytest.mark.parametrize("history", [[], [Point(NOON_NS, 5)], [Point(NOON_NS, 5), Point(NOON_NS, 6)]])
def test_no_curve_without_two_moments(history):
    assert plot(history) is None
    assert "svg" in shown(published(history=tuple(history))).elements
    assert "figure" not in shown(published(history=tuple(history))).elements
