"""
The page for people: one document without scripts, without anything from elsewhere, for any screen and any browser.

Jinja escapes whatever it places, and the policy that the page is sent with allows this one style and nothing else, so
that even a name that got through would only be text.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from gcd import __version__
from gcd.web.plot import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH
from gcd.web.view import view

if TYPE_CHECKING:
    from jinja2 import Template

    from gcd.model.published import Published

STYLE = files("gcd.web").joinpath("templates/page.css").read_text(encoding="utf-8")

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The Content-Security-Policy of everything that is served."""


class Shot(Struct, frozen=True):
    """What the page shows, on which host, and when by the wall clock."""

    published: Published
    host: str
    now_ns: int


def page(shot: Shot) -> bytes:
    shown = view(shot.published, host=shot.host, now_ns=shot.now_ns)
    return _template("page.html").render(view=shown).encode()


def first_page(host: str) -> bytes:
    """What is there to be seen before the first result."""
    return _template("first.html").render(host=host).encode()


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("gcd.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "style": STYLE,
        "version": __version__,
        "frame": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "bottom": HEIGHT - BOTTOM},
    }
    return environment.get_template(name)
