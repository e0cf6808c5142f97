"""`/metrics`: the numbers of all workers of the service, joined, in the text formats of Prometheus and OpenMetrics."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.telemetry.families import FAMILIES, MATRIX_CONFIRMED, Family
from app.telemetry.memory import Memory, Series, read_worker

_Workers = dict[str, list[tuple[Series, list[float]]]]


def render(memory: Memory, folder: Path | None, accept: str, only: str | None = None) -> tuple[bytes, str]:
    """The metrics and their content type. `folder` None: of this process alone; `only`: the series of other hospitals are left out."""
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry()
    registry.register(_Joined(_workers(memory, folder), only))
    made: bytes = encode(registry)
    return made, content_type


def _workers(memory: Memory, folder: Path | None) -> _Workers:
    if folder is None:
        return {str(memory.slot): list(memory.read())}
    files = sorted(folder.glob("worker-*.names"))
    return {file.stem.removeprefix("worker-"): list(read_worker(file)) for file in files}


class _Joined(Collector):
    def __init__(self, workers: _Workers, only: str | None) -> None:
        self._workers = workers
        self._only = only

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            of_family = {worker: [one for one in read if self._is_of(family, one[0])] for worker, read in self._workers.items()}
            if family.kind == "gauge":
                yield _gauge(family, of_family)
            elif family.kind == "shared":
                yield _shared(family, [one for read in of_family.values() for one in read])
            else:
                yield _summed(family, [one for read in of_family.values() for one in read])
        yield self._age()

    def _is_of(self, family: Family, series: Series) -> bool:
        if series.name != family.name:
            return False
        return self._only is None or "hospital" not in family.labels or series.labels[family.labels.index("hospital")] == self._only

    def _age(self) -> Metric:
        metric = GaugeMetricFamily(
            "surgate_matrix_age_seconds", "Time since the worker last held its matrix against the change log", labels=["worker"]
        )
        now = time.time()
        for worker, read in self._workers.items():
            for series, values in read:
                if series.name == MATRIX_CONFIRMED.name and values[0]:
                    metric.add_metric([worker], max(0.0, now - values[0]))
        return metric


def _gauge(family: Family, workers: _Workers) -> Metric:
    metric = GaugeMetricFamily(family.name, family.text, labels=["worker", *family.labels])
    for worker, read in workers.items():
        for series, values in read:
            metric.add_metric([worker, *series.labels], values[0])
    return metric


def _shared(family: Family, read: Iterable[tuple[Series, list[float]]]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.text, labels=family.labels)
    highest: dict[tuple[str, ...], float] = {}
    for series, values in read:
        highest[series.labels] = max(values[0], highest.get(series.labels, 0.0))
    for labels, value in highest.items():
        metric.add_metric(labels, value)
    return metric


def _summed(family: Family, read: Iterable[tuple[Series, list[float]]]) -> Metric:
    sums: dict[tuple[str, ...], list[list[float]]] = defaultdict(list)
    for series, values in read:
        sums[series.labels].append(values)
    metric: CounterMetricFamily | HistogramMetricFamily
    if family.kind == "counter":
        metric = CounterMetricFamily(family.name, family.text, labels=family.labels)
        for labels, each in sums.items():
            metric.add_metric(labels, sum(values[0] for values in each))
        return metric
    metric = HistogramMetricFamily(family.name, family.text, labels=family.labels)
    for labels, each in sums.items():
        *counts, total = (sum(column) for column in zip(*each, strict=True))
        bounds = [*(str(bound) for bound in family.bounds), "+Inf"]
        metric.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return metric
