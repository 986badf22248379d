# SPDX-License-Identifier: MIT
"""What Prometheus reads at /metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_PICTURES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one application.

    Args:
        labels: How many labels the set has now.
        pictures: How many pictures.
        version: How often it has been changed.
        waiting: How many pictures wait for an answer.
    """

    def __init__(
        self,
        labels: Callable[[], int],
        pictures: Callable[[], int],
        version: Callable[[], int],
        waiting: Callable[[], int],
    ) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "fslcore_requests", "Requests by route and status.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "fslcore_request_seconds",
            "Time from the first byte of a request to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "fslcore_batch_pictures", "Pictures of a batch.", buckets=_PICTURES, registry=registry
        )
        self._answers = Counter(
            "fslcore_predictions",
            "Predictions, by whether a label was given.",
            ("answer",),
            registry=registry,
        )
        self._known, self._unknown = self._answers.labels("label"), self._answers.labels("unknown")
        for name, text, value in (
            ("fslcore_labels", "Labels of the set.", labels),
            ("fslcore_pictures", "Support pictures of the set.", pictures),
            ("fslcore_version", "Changes of the set.", version),
            ("fslcore_waiting_pictures", "Pictures that wait for an answer.", waiting),
        ):
            Gauge(name, text, registry=registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, pictures: int) -> None:
        """A batch begins."""
        self._batches.observe(pictures)

    def predictions(self, known: int, unknown: int) -> None:
        """Pictures were given a label, or none."""
        self._known.inc(known)
        self._unknown.inc(unknown)

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self._registry)
