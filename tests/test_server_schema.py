"""The OpenAPI document against a running server: requests made from it, good and bad, and every answer as it says (schemathesis)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from emodef.server.faults import CODES
from tiny_server import Running

schemathesis = pytest.importorskip("schemathesis")


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """What is sent where the document says lines."""
    return str(value).encode("utf-8", "surrogatepass")


EXAMPLES = 12  # of each kind and address
OPERATIONS = {
    "GET /health",
    "GET /metrics",
    "GET /ready",
    "GET /v1/jobs/{id}",
    "GET /v1/jobs/{id}/problems",
    "GET /v1/jobs/{id}/result",
    "GET /v1/jobs/{id}/summary",
    "DELETE /v1/jobs/{id}",
    "GET /v1/labels",
    "GET /v1/limits",
    "POST /v1/explain",
    "POST /v1/jobs",
    "POST /v1/predict",
    "POST /v1/predict/stream",
    "POST /v1/score",
}


@pytest.fixture(scope="module")
def document(server: Running) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_every_address_is_described(document: Any) -> None:
    assert {operation.ok().label for operation in document.get_all_operations()} == OPERATIONS
    raw = document.raw_schema
    assert raw["openapi"].startswith("3.1")
    for path, methods in raw["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            assert "503" in operation["responses"]
            for status, response in operation["responses"].items():
                assert status in ("200", "202") or response["content"]["application/json"]["schema"] == {
                    "$ref": "#/components/schemas/ErrorBody"
                }
                assert int(status) < 400 or int(status) in {known for known, _ in CODES.values()}


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_answers_are_as_the_document_says(document: Any, server: Running, label: str) -> None:
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    operation = next(found.ok() for found in document.get_all_operations() if found.ok().label == label)
    checks = [
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
    ]
    if label != "POST /v1/predict/stream":  # whatever its lines hold, each gets an answer of its own
        checks.append(negative_data_rejection)
    kinds = [
        operation.as_strategy(generation_mode=mode)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]

    @settings(
        max_examples=2 * EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(*kinds))
    def ask(case: Any) -> None:
        answer = case.call_and_validate(checks=checks)
        assert answer.status_code < 500 or answer.status_code == 503
        if label == "POST /v1/jobs" and answer.status_code == 202:
            server.ask("DELETE", f"/v1/jobs/{answer.json()['id']}")

    ask()
