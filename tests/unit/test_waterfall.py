"""Waterfall of one prediction."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiomics_crlm.errors import InputError
from radiomics_crlm.report.waterfall import shortened, waterfall_bars, waterfall_svg

SVG = "{http://www.w3.org/2000/svg}"
LABELS = ["cea_ng_ml", "age_years", "largest__original_firstorder_Mean", "node_positive"]
VALUES = [0.31, -0.12, 0.0, 0.2]


def _drawn(**more: object) -> str:
    return waterfall_svg(LABELS, VALUES, -0.5, -0.11, unit="log hazard ratio", **more)  # type: ignore[arg-type]


def test_bars_lead_from_base_to_total() -> None:
    bars = waterfall_bars(LABELS, VALUES, -0.5, -0.11)
    assert [b.label for b in bars] == ["cea_ng_ml", "node_positive", "age_years"]
    assert bars[0].start == -0.5
    assert bars[-1].end == pytest.approx(-0.11)
    assert all(later.start == earlier.end for earlier, later in itertools.pairwise(bars))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(-3, 3), st.integers(1, 8))
def test_joined_steps_keep_the_sum(values: list[float], base: float, shown: int) -> None:
    labels = [f"input {n}" for n in range(len(values))]
    bars = waterfall_bars(labels, values, base, base + math.fsum(values), shown=shown)
    assert len(bars) <= shown
    assert math.fsum(b.value for b in bars) == pytest.approx(math.fsum(values), abs=1e-9)
    if sum(v != 0 for v in values) > shown:
        assert bars[-1].label.endswith(" other inputs")


def test_svg_is_well_formed_named_described_and_the_same_each_time() -> None:
    drawn = _drawn(title="A <b> & name")
    root = ET.fromstring(drawn)  # noqa: S314 (our own output)
    title, description = root[0], root[1]
    assert root.attrib["role"] == "img"
    assert (title.tag, title.text) == (f"{SVG}title", "A <b> & name")
    assert root.attrib["aria-labelledby"] == f"{title.attrib['id']} {description.attrib['id']}"
    assert description.text is not None
    for told in ("cea_ng_ml +0.31", "age_years \N{MINUS SIGN}0.12", "average prediction \N{MINUS SIGN}0.50"):
        assert told in description.text
    assert drawn == _drawn(title="A <b> & name")
    assert 'id="sheet-title"' in _drawn(ident="sheet")


def test_direction_is_told_without_colour() -> None:
    """Arrows end where they point; the sign is in the text."""
    arrows = re.findall(r'<polygon points="([^"]+)" fill="(#\w+)"', _drawn())
    assert len(arrows) == 3
    for points, colour in arrows:
        xs = [float(p.split(",")[0]) for p in points.split()]
        up = xs[2] > xs[0]
        assert xs[2] == (max(xs) if up else min(xs))
        assert colour == ("#D55E00" if up else "#0072B2")
    text = "".join(ET.fromstring(_drawn()).itertext())  # noqa: S314
    assert "+0.31" in text


def test_text_takes_the_colour_of_the_page_and_nothing_is_loaded() -> None:
    drawn = _drawn()
    assert 'fill="currentColor"' in drawn.partition(">")[0]
    assert not re.search(r"<text[^>]*fill=", drawn)
    assert re.findall(r"(?:href|src|url)\W", drawn) == []


def test_labels_are_shown_as_text() -> None:
    drawn = waterfall_svg(["<script>x</script>", "b"], [1.0, -1.0], 0.0, 0.0, unit="log odds")
    ET.fromstring(drawn)  # noqa: S314
    assert "<script" not in drawn


def test_without_any_moving_input_there_are_two_ends() -> None:
    root = ET.fromstring(waterfall_svg([], [], 0.2, 0.2, unit="log odds"))  # noqa: S314
    assert len(root.findall(f"{SVG}polygon")) == 2


@pytest.mark.parametrize("values", [[1e-9, -2e-9], [1e6, 2e6], [0.1, 0.1]])
def test_any_scale_has_round_ticks(values: list[float]) -> None:
    drawn = waterfall_svg(["a", "b"], values, 0.0, sum(values), unit="log odds")
    ticks = re.findall(r'<text[^>]*font-size="12">([^<]+)</text>', drawn)
    assert 1 <= len(ticks) <= 6
    assert len(set(ticks)) == len(ticks)


def test_long_labels_keep_their_end() -> None:
    assert len(shortened("a" * 30 + "_glcm_Imc1_of_something_long")) == 36
    assert shortened("largest__wavelet-HHL_glcm_" + "x" * 40 + "_Imc1").endswith("_Imc1")


@pytest.mark.parametrize(
    ("labels", "values", "base", "total", "match"),
    [
        (["a"], [1.0, 2.0], 0.0, 3.0, "do not fit together"),
        (["a"], [1.0], 0.0, 1.1, "do not lead"),
        (["a"], [math.nan], 0.0, 1.0, "do not lead"),
        (["a"], [1.0], math.nan, 1.0, "do not lead"),
    ],
)
def test_refuses(labels: list[str], values: list[float], base: float, total: float, match: str) -> None:
    with pytest.raises(InputError, match=match):
        waterfall_svg(labels, values, base, total, unit="log odds")
