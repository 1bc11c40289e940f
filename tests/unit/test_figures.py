"""Figures: readable by machines and people, the same bytes for the same data, nothing left behind."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import pytest

from radiomics_crlm.report import drawing, figures

SVG = "{http://www.w3.org/2000/svg}"


def _row(title: str, estimate: float | None = 0.61, **more: Any) -> dict[str, Any]:
    known = {"lower": 0.55, "upper": 0.67, "text": "0.61 (0.55 to 0.67)"} if estimate is not None else {}
    return {"title": title, "kind": "model", "estimate": estimate, "lower": None, "upper": None,
            "text": "not computable"} | known | more  # fmt: skip


def _forest(ident: str = "f", title: str = "C of all models", rows: list[dict[str, Any]] | None = None) -> str:
    chosen = rows or [_row("Combined"), _row("Fong", kind="score")]
    return figures.forest(chosen, label="C", reference=0.5, ident=ident, title=title)


def _calibration(ident: str = "c", title: str = "Calibration") -> str:
    group = {"group": 1, "n": 30, "predicted": 0.2, "observed": 0.25, "lower": 0.1, "upper": 0.4,
             "predicted_text": "20 %", "observed_text": "25 (10 to 40) %"}  # fmt: skip
    part = {
        "horizon_text": "24 months",
        "groups": [group, group | {"group": 2, "predicted": 0.5, "observed": 0.6, "lower": 0.4, "upper": 0.8}],
        "histogram": {"counts": [1, 5, 3, 0], "edges": [0.0, 0.25, 0.5, 0.75, 1.0], "bin": 0.25},
    }
    return figures.calibration(part, ident=ident, title=title)


def _course(ident: str = "k", title: str = "Course", kind: str = "incidence") -> str:
    groups = [
        {"title": f"{name} third", "n": 30, "months": [0, 1, 2], "value": [0.0, 0.1, 0.2], "lower": [0.0, 0.0, 0.1],
         "upper": [0.1, 0.2, 0.4], "at_risk": [30, "<5"], "cells": ["20 (10 to 40) %"]}
        for name in ("lowest", "middle", "highest")
    ]  # fmt: skip
    part = {
        "kind": kind,
        "quantity": "cumulative incidence",
        "word": "risk",
        "months": [0, 1, 2, 3],
        "ticks": [0, 3],
        "groups": groups,
    }
    part["table_months"] = [3]
    return figures.course(part, ident=ident, title=title)


def _beeswarm(ident: str = "s", title: str = "SHAP", feature: str = "cea_ng_ml") -> str:
    dots = [[0, {"low": 2}], [30, {"middle": 4, "missing": 1}], [60, {"high": 3}]]
    row = {"rank": 1, "feature": feature, "mean_text": "0.120", "direction": "mixed", "dots": dots}
    return figures.beeswarm({"reach": 0.5, "bins": 61, "features": [row]}, ident=ident, title=title)


def _bars(ident: str = "b", title: str = "Scores") -> str:
    score = {"title": "Fong", "distribution": [{"label": "0", "n": 12}, {"label": "1", "n": "<5"}]}
    return figures.bars([score] * 4, ident=ident, title=title)


ALL = [_forest, _calibration, _course, _beeswarm, _bars]


@pytest.mark.parametrize("draw", ALL)
def test_svg_is_well_formed_named_and_described(draw: Callable[..., str]) -> None:
    root = ET.fromstring(draw(title="A <b> & name"))  # noqa: S314 (our own output)
    assert root.attrib["role"] == "img"
    title, description = root[0], root[1]
    assert (title.tag, title.text) == (f"{SVG}title", "A <b> & name")
    assert description.tag == f"{SVG}desc"
    assert description.text
    assert root.attrib["aria-labelledby"] == f"{title.attrib['id']} {description.attrib['id']}"


@pytest.mark.parametrize("draw", ALL)
def test_same_data_same_bytes(draw: Callable[..., str]) -> None:
    assert draw() == draw()


@pytest.mark.parametrize("draw", ALL)
def test_ids_are_prefixed_and_every_reference_resolves(draw: Callable[..., str]) -> None:
    text = draw(ident="p7")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert all(i.startswith("p7-") for i in ids)
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {a or b for a, b in references} <= set(ids)


@pytest.mark.parametrize("draw", ALL)
def test_svg_holds_no_date_style_sheet_comment_script_or_outside_address(draw: Callable[..., str]) -> None:
    text = re.sub(r'xmlns(:xlink)?="[^"]*"', "", draw())
    assert not re.search(r"<metadata|<style|<!--|<script|<!DOCTYPE|<\?xml|https?://|20\d\d-\d\d", text)


@pytest.mark.parametrize("draw", ALL)
def test_drawing_leaves_the_settings_of_matplotlib_alone(draw: Callable[..., str]) -> None:
    before = dict(mpl.rcParams)
    draw()
    assert dict(mpl.rcParams) == before


def test_description_repeats_the_numbers() -> None:
    root = ET.fromstring(_forest())  # noqa: S314
    assert root[1].text == "C. Combined: 0.61 (0.55 to 0.67); Fong: 0.61 (0.55 to 0.67)."


@pytest.mark.parametrize(
    "name", ["$\\frac{1}{2", "a_b^c$", "\u8096\u764c", "\U0001f9ea", "x" * 500, "line\nbreak\ttab", "", "]]>-->"]
)
def test_hostile_labels_are_drawn_without_a_warning(name: str) -> None:
    for text in (_forest(rows=[_row(name)], title=name), _beeswarm(feature=name, title=name)):
        assert ET.fromstring(text)[0].text == name or name == "" or "\t" in name  # noqa: S314


def test_row_without_an_estimate_keeps_its_place() -> None:
    with_it = _forest(rows=[_row("Combined"), _row("Fong", None)])
    assert "Fong: not computable" in with_it


def test_survival_and_incidence_are_drawn_differently() -> None:
    assert _course(kind="survival") != _course()


def test_long_names_lose_their_middle_not_their_end() -> None:
    shown = drawing.drawable("largest__log-sigma-2-0-mm-3D_glcm_JointEntropy", 30)
    assert len(shown) == 30
    assert shown.startswith("largest__l\N{HORIZONTAL ELLIPSIS}")
    assert shown.endswith("glcm_JointEntropy")
