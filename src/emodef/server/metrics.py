"""Counts for Prometheus, of one worker or, through files that all of them share, of several. Imports prometheus_client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodef.server.jobs import alive

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OTHER = "other"  # addresses that are not there


class Metrics:
    """What is counted, and the page that tells it."""

    def __init__(self) -> None:
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            disable_created_metrics,
        )

        disable_created_metrics()

        self.shared = os.environ.get(VARIABLE)
        registry = None if self.shared else CollectorRegistry()
        self._registry = registry
        live: dict[str, Any] = {"multiprocess_mode": "livesum"} if self.shared else {}
        if self.shared:
            self._forget_the_dead(Path(self.shared))

        def made(kind: Any, name: str, told: str, labels: tuple[str, ...] = (), **more: Any) -> Any:
            return kind(f"emodef_{name}", told, labels, registry=registry, **more)

        self._requests = made(Counter, "requests", "Requests answered", ("path", "method", "status"))
        self._seconds = made(
            Histogram, "request_seconds", "From a request to its answer", ("path",), buckets=_SECONDS
        )
        self._errors = made(Counter, "errors", "Answers that are errors", ("code",))
        self.active = made(Gauge, "requests_active", "Requests being answered", **live)
        self.waiting = made(Gauge, "texts_waiting", "Texts that wait for the model", **live)
        self._texts = made(Counter, "texts", "Texts that went through the model")
        self._pass_texts = made(Histogram, "pass_texts", "Texts of a pass", buckets=_TEXTS)
        self._pass_requests = made(Histogram, "pass_requests", "Requests that shared a pass", buckets=_TEXTS)
        self._pass_seconds = made(Histogram, "pass_seconds", "Length of a pass", buckets=_SECONDS)

    def request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, method, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def error(self, code: str) -> None:
        """Count an error."""
        self._errors.labels(code).inc()

    def passed(self, texts: int, requests: int, seconds: float) -> None:
        """Count a pass of the model."""
        self._texts.inc(texts)
        self._pass_texts.observe(texts)
        self._pass_requests.observe(requests)
        self._pass_seconds.observe(seconds)

    def page(self, jobs: Mapping[str, int]) -> tuple[bytes, str]:
        """All of it as Prometheus reads it, and the content type. jobs: state -> how many there are."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.core import GaugeMetricFamily

        class Jobs:
            def collect(self) -> Any:
                family = GaugeMetricFamily("emodef_jobs", "Files kept", labels=["state"])
                for state, number in jobs.items():
                    family.add_metric([state], number)
                yield family

        registry = self._registry
        if registry is None:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=self.shared)
        of_jobs = CollectorRegistry()
        of_jobs.register(Jobs())
        return generate_latest(registry) + generate_latest(of_jobs), CONTENT_TYPE_LATEST

    @staticmethod
    def _forget_the_dead(folder: Path) -> None:
        """Workers that are gone answer nothing now; what they have counted stays."""
        from prometheus_client.multiprocess import mark_process_dead

        for path in folder.glob("gauge_live*_*.db"):
            number = path.stem.rpartition("_")[2]
            if number.isdigit() and not alive(int(number)):
                mark_process_dead(int(number), str(folder))
