"""
The metrics: one `Published` as Prometheus reads it.

::

    figures.py      the table of all: name, unit, labels, and how each is counted
    exposing.py     the table as prometheus-client takes it, and as text
    document.py     the page of the manual

Units are base units, counters begin anew with the daemon, and no label has a value that comes from the root: all sets
of labels are closed, all series are there from the first result on, with 0, and there are fewer than 300 of them.
"""

from gcd.metrics.document import page
from gcd.metrics.exposing import CONTENT_TYPE, collector, exposition, textfile
from gcd.metrics.figures import FIGURES, SEVERITIES, Figure, Type

__all__ = [
    "CONTENT_TYPE",
    "FIGURES",
    "SEVERITIES",
    "Figure",
    "Type",
    "collector",
    "exposition",
    "page",
    "textfile",
]
