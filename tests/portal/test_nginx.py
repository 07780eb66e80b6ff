"""Where pages and streams are served apart, the proxy sends each address to the process that can answer it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
STREAMED = re.compile(re.search(r"location ~ (.+) \{", CONFIGURATION.read_text())[1])


def addresses(resolver=None, prefix: str = "/"):
    """Yield every address of the site with its parameters filled in."""
    for entry in (resolver or get_resolver()).url_patterns:
        pattern = prefix + re.sub(r"\^|\\Z|(?<!\[)\$", "", str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from addresses(entry, pattern)
        elif isinstance(entry, URLPattern):
            yield re.sub(r"<(?:\w+:)?\w+>|\(\?P<\w+>(?:[^()]|\([^)]*\))*\)", "7", pattern).replace("\\", "")


@pytest.mark.parametrize(
    "address",
    [
        "/training/jobs/7/events/",
        "/use-cases/export.csv",
        "/ledger/archive/",
        "/api/v1/ledger/export/",
        "/datasets/helpdesk/requests/upload/",
        "/datasets/helpdesk/requests/versions/1/files/data/test.parquet",
        "/models/helpdesk/router/versions/1/files/README.md",
        "/helpdesk/router/resolve/main/model.safetensors",
        "/datasets/helpdesk/requests/resolve/v1/data/test.parquet",
        "/api/v1/datasets/7/versions/",
        "/api/v1/models/helpdesk/router/predict",
    ],
)
def test_what_lasts_goes_to_the_streams(address):
    assert STREAMED.search(address)


@pytest.mark.parametrize("address", ["/", "/use-cases/", "/use-cases/7/", "/ledger/", "/api/v1/use-cases/", "/files"])
def test_a_page_goes_to_the_workers(address):
    assert not STREAMED.search(address)


def test_most_of_the_site_is_pages_and_no_stream_is_forgotten():
    every = set(addresses())
    streamed = {address for address in every if STREAMED.search(address)}
    lasting = {a for a in every if re.search(r"events|export|archive|download|upload|predict|/files/7|/resolve/7", a)}
    assert len(every) > 150
    assert len(streamed) < len(every) / 4
    # A job's events as the API lists them are an ordinary answer, and so is a file of ten recovery codes.
    assert {a for a in lasting - streamed if not a.startswith(("/api/v1/jobs/", "/account/"))} == set()
