"""The page in a real browser: what becomes of it, what the browser complains of, and that it fits a phone."""

from __future__ import annotations

import json
import re

import pytest
from msgspec.structs import replace
from support.browser import Browser
from support.browsing import site
from support.published import busy_daemon

from gcd.web import app
from gcd.web.page import Shot, page

OWNED = "document.title='owned'"
HOSTILE = f'<script>{OWNED}</script><img src=x onerror="{OWNED}">\u202egnp.exe\x1b]0;x\x07\udcff'

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    return Browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def hostile():
    """A busy daemon on a host whose every name is an attack."""
    busy = busy_daemon()
    findings = tuple(
        replace(
            finding,
            subject=finding.subject._replace(id=f"{HOSTILE}{number}"),
            summary=HOSTILE,
            impact=replace(finding.impact, images=(HOSTILE,), containers=(HOSTILE, "x" * 255)),
        )
        for number, finding in enumerate(busy.result.findings)
    )
    result = replace(busy.result, findings=findings, root=f"/{HOSTILE}")
    return replace(busy, result=result, trouble=HOSTILE)


def test_a_browser_shows_it_and_complains_of_nothing(browser):
    with site(busy_daemon()) as served:
        seen = browser.see(f"http://{served.address}/")

    assert seen.console == ()
    assert "<title>Damaged: gcd on " in seen.dom
    assert seen.dom.count('<article class="card ') == 5
    assert len(re.findall(r"<table>\s*<thead", seen.dom)) == 6
    assert "<code>gcd repair GCD206</code>" in seen.dom
    assert '<svg viewBox="0 0 720 200" role="img"' in seen.dom


def test_a_browser_runs_nothing_that_names_hold(browser, hostile):
    with site(hostile) as served:
        seen = browser.see(f"http://{served.address}/")

    assert seen.console == ()
    assert "<title>Damaged: gcd on " in seen.dom
    assert "<script" not in seen.dom
    assert "<img" not in seen.dom
    assert "&lt;script&gt;document.title='owned'&lt;/script&gt;" in seen.dom


def test_the_policy_stops_what_would_run_or_load_all_the_same(browser, monkeypatch):
    """Were a name to get out of its place, the browser would still refuse it, and say so."""
    escaped = f"<!doctype html><title>safe</title><script>{OWNED}</script><img src='/metrics'><p style='color:red'>"
    monkeypatch.setattr(app, "page", lambda _shot: escaped.encode())
    with site(busy_daemon()) as served:
        seen = browser.see(f"http://{served.address}/")

    assert "<title>safe</title>" in seen.dom
    assert len([line for line in seen.console if "Content Security Policy" in line]) == 3


def test_it_fits_any_screen(browser, hostile, tmp_path):
    """Measured in frames of another document, since this one runs no scripts."""
    widths = (360, 768, 1280)
    (tmp_path / "page.html").write_bytes(page(Shot(hostile, "host" * 20, hostile.result.checked_ns)))
    frames = "".join(
        f'<iframe src=page.html style="width:{width}px;height:900px;border:0"></iframe>' for width in widths
    )
    (tmp_path / "frames.html").write_text(
        f"""{frames}<pre id=said></pre><script>
        onload = () => said.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {{
          const d = frame.contentDocument;
          const wide = [...d.body.querySelectorAll("*")].filter(
            e => e.getBoundingClientRect().right > frame.clientWidth + 0.5 && !e.closest(".skip, .unseen, svg"));
          return [d.documentElement.scrollWidth, wide.map(e => e.className)];
        }}))</script>"""
    )

    seen = browser.see(f"file://{tmp_path}/frames.html")

    [said] = re.findall(r'<pre id="said">(.*?)</pre>', seen.dom, re.DOTALL)
    assert json.loads(said) == [[width, []] for width in widths]
