"""Figures as prometheus-client takes them, and as text."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, assert_never

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from gcd.metrics.figures import FIGURES, Type
from gcd.model.published import BUCKETS_SECONDS, Durations, Published, Scope, Scrubbing, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

    from gcd.metrics.figures import Figure
    from gcd.model.result import RunResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `exposition` gives."""


class PublishedCollector(Collector):
    """What prometheus-client asks for all metrics of what is `latest` then."""

    def __init__(self, latest: Callable[[], Published | None], figures: tuple[Figure, ...] = FIGURES) -> None:
        self._latest = latest
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        published = self._latest()
        if published is None:
            return [_before_the_first()]
        return [_family(figure, published) for figure in self._figures]


def collector(latest: Callable[[], Published | None]) -> Collector:
    return PublishedCollector(latest)


def exposition(published: Published | None) -> bytes:
    """All metrics as text; before the first result (None) nothing but ``gcd_up 0``."""
    return generate_latest(PublishedCollector(lambda: published))


def textfile(result: RunResult, scrubbing: Scrubbing) -> str:
    """
    What a single check knows, and the state of what scrubs found before it, for the textfile collector of
    node_exporter, which takes no timestamps.
    """
    published = Published(result, Tally({}, {}, {}), {Scope.FULL: result.checked_ns}, scrubbing=scrubbing)
    figures = tuple(figure for figure in FIGURES if figure.is_of_check)
    return generate_latest(PublishedCollector(lambda: published, figures)).decode()


def _before_the_first() -> Metric:
    (up,) = (figure for figure in FIGURES if figure.name == "gcd_up")
    return GaugeMetricFamily(up.name, up.text, value=0)


def _family(figure: Figure, published: Published) -> Metric:
    match figure.type:
        case Type.GAUGE | Type.COUNTER:
            make = GaugeMetricFamily if figure.type is Type.GAUGE else CounterMetricFamily
            family = make(figure.name, figure.text, labels=figure.labels)
            for values, value in figure.samples(published):
                assert not isinstance(value, Durations)
                family.add_metric(values, value)
            return family
        case Type.INFO:
            info = InfoMetricFamily(figure.name.removesuffix("_info"), figure.text)
            for values, _ in figure.samples(published):
                info.add_metric((), dict(zip(figure.labels, values, strict=True)))
            return info
        case Type.HISTOGRAM:
            histogram = HistogramMetricFamily(figure.name, figure.text, labels=figure.labels)
            for values, durations in figure.samples(published):
                assert isinstance(durations, Durations)
                histogram.add_metric(values, _buckets(durations), durations.sum_seconds)
            return histogram
        case _:
            assert_never(figure.type)


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Prometheus counts each bucket with all that are below it."""
    bounds = (*(str(bound) for bound in BUCKETS_SECONDS), "+Inf")
    return list(zip(bounds, accumulate(durations.counts), strict=True))
