"""
What the daemon shows over HTTP: metrics, health, findings, and a page for people.

::

    serving.py      begins and ends a server: a thread with an event loop of its own
    listening.py    addresses, certificates, and why nothing can listen
    door.py         who is let in, how many at once, and who has to go
    app.py          the paths, and what each answers
    hosts.py        by which names this host is asked
    access.py       names and passwords
    rendering.py    what is rendered once and shown to many
    view.py         a result as the page says it
    plot.py         the history as a curve
    page.py         the page
    templates/      its HTML and its style

It reads what is `latest` whenever somebody asks, and nothing else: neither the root nor the state. Nothing here holds
up the daemon's own loop, whatever clients do.
"""

from gcd.web.listening import CannotListen
from gcd.web.serving import Server, serve

__all__ = ["CannotListen", "Server", "serve"]
