"""Position in the cohort: counted, anonymous, and silent where others could be guessed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiomics_crlm.report.percentile import SMALLEST, position, strip_svg

shares = st.floats(0, 1, allow_nan=False)


@given(st.lists(shares, min_size=SMALLEST, max_size=40), st.integers(0, 1000))
def test_position_is_the_share_of_the_others_below(cohort: list[float], pick: int) -> None:
    value = cohort[pick % len(cohort)]
    part = position(value, cohort)
    others = list(cohort)
    others.remove(value)
    assert part["lower_pct"] == int(100 * sum(x < value for x in others) / len(others) + 1e-9)
    assert part["quantiles"] == sorted(part["quantiles"])
    assert part["n"] == len(cohort)


@pytest.mark.parametrize("n", [0, 1, SMALLEST - 1])
def test_a_small_cohort_is_not_shown(n: int) -> None:
    part = position(0.5, np.linspace(0, 1, n).tolist())
    assert set(part) == {"absent"}
    assert "fewer than 10" in part["absent"]


def test_nobody_else_is_in_it() -> None:
    cohort = [0.123456, *np.linspace(0.2, 0.9, 30), 0.987654]
    shown = str(position(0.5, cohort))
    assert "0.123456" not in shown
    assert "0.987654" not in shown


def test_the_strip_is_wellformed_named_and_marks_the_patient() -> None:
    places = []
    for value in (0.0, 0.5, 1.0):
        part = position(value, np.linspace(0, 1, 20).tolist())
        text = strip_svg(part, ident="a", title="<b>", description='"x" & y')
        root = ET.fromstring(text)  # noqa: S314 - made here
        assert root.attrib["aria-labelledby"] == "a-title a-desc"
        assert "<b>" not in text
        mark = re.search(r'<polygon points="([\d.]+),', text)
        assert mark is not None
        places.append(float(mark[1]))
    assert places == sorted(places)
    assert places[1] == pytest.approx((places[0] + places[2]) / 2, abs=0.11)
    assert places[0] >= 0
    assert places[2] + 14 <= 560
