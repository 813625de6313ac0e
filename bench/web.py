"""
What a scrape costs: ``python bench/web.py [--turns N]``.

The root is the one of 20,000 layers and 2,000 containers that ``bench.py`` built, with its faults. Its result is served
as the daemon serves it. Scrapes come one after the other, over connections of their own; each first one finds a new
result, as after every look, and the next finds it rendered. Times are those that the client waits, on this machine, as
medians and worst cases.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import time

from msgspec.structs import replace

from bench import built, faulty, table
from gcd.model.published import Published, Scope, Tally
from gcd.run import check
from gcd.web import serve

LAYERS = 20_000
PATHS = ("/metrics", "/", "/api/v1/findings")


def milliseconds(place: tuple[str, int], path: str) -> tuple[float, int]:
    """How long one answer took to come, and its bytes."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(*place)
    connection.request("GET", path)
    size = len(connection.getresponse().read())
    connection.close()
    return (time.perf_counter() - began) * 1000, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=50)
    turns = parser.parse_args().turns
    result = check(str(faulty(built(LAYERS))), now_ns=time.time_ns())
    latest = Published(result, Tally({}, {}, {}), {Scope.FULL: result.checked_ns})
    rows = []
    with serve(lambda: latest, listen_address="127.0.0.1:0") as server:
        host, _, port = server.address.rpartition(":")
        place = (host, int(port))
        for path in PATHS:
            milliseconds(place, path)
            fresh, again, size = [], [], 0
            for _ in range(turns):
                # Another look had the same result: nothing that was rendered of the one before is of use.
                latest = replace(latest, result=replace(result))
                took, size = milliseconds(place, path)
                fresh.append(took)
                again.append(milliseconds(place, path)[0])
            rows.append((path, f"{size / 1024:.0f} KiB", *map(said, (fresh, again))))
    print(f"{len(result.findings)} findings at {result.summary.layers} layers")
    table(("path", "answer", "new result: median, worst", "same result: median, worst"), rows)


def said(times: list[float]) -> str:
    return f"{statistics.median(times):.1f} ms, {max(times):.1f} ms"


if __name__ == "__main__":
    main()
