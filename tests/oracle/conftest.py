"""The fixture of all comparisons with independent implementations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oracle_comparison import RECORDS, Compare, Record


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> Iterator[Compare]:
    """Seeds to draw data sets with, and the comparison itself."""
    case, wanted = request.param
    made = Compare(case, wanted)
    yield made
    assert len(made.compared) >= wanted, f"only {len(made.compared)} of {wanted} data sets were compared"
    test = f"{request.path.name}::{request.function.__name__}"
    records = request.config.stash.setdefault(RECORDS, [])
    records.append(Record(test, case, len(made.compared), made.largest))
