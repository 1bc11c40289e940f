"""Patient sheets and their index in a real browser: quiet, accessible, sorted by keyboard, one A4 page in print."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from page_checks import CONTRAST, STRUCTURE, serious_faults
from sheet_folder import Scored, bundle_json, cohort_of, make_scored, score_row

from radiomics_crlm import clinical
from radiomics_crlm.report.patient_sheet import Explained, Pictures, build_patient_sheet, render_patient_sheet
from radiomics_crlm.study.sheets import write_sheets

_HOSTILE = "<img src=x onerror=console.log(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sheets")
    scored: Scored = make_scored(root, images=1, keys={1: _HOSTILE}, cells={(5, "cea_ng_ml"): "much"})
    out = root / "out"
    write_sheets(scored.bundle, scored.cohort, scored.scores, out, progress=lambda *_: None)
    (out / "sheets" / "crowded.html").write_text(_crowded(), encoding="utf-8")
    return out


def _crowded(most: int = 10) -> str:
    """A sheet with as much on it as there can be: rules that lack everything, all flags, long cautions."""
    rules = [
        {
            "rule": name,
            "title": told.title,
            "headline": "not assessable; between 0 and 5",
            "missing": list(told.inputs)[:5],
        }
        | {"change": [], "failed": [], "components": [], "boundary": []}
        for name, told in ((name, clinical.describe(name)) for name in clinical.rule_ids()[:most])
    ]
    kinds = ("missing:9", "imputed_over_half", "out_of_range:a", "unit_suspicion:b", "unknown_category:c")
    score = score_row(flags=";".join((*kinds, "out_of_distribution", "scan:liver_touches_border")[: most + 1]))
    names = {f"largest__original_glszm_LargeAreaHighGrayLevelEmphasis_{k}": 0.01 * k for k in range(1, 30)}
    scans = {"title": "baseline, CT portal venous", "facts": ["lesions: 3, largest 42 mm axial"] * 6, "findings": []}
    sheet = build_patient_sheet(
        score,
        bundle_json(performance_claim=False, cautions=("A caution of some length that says what not to do. " * 3,)),
        bundle_sha256="0" * 64,
        rules=rules,
        explained=Explained(names, 0.0, sum(names.values()), "logarithm of the relative hazard"),
        cohort=cohort_of(30),
        pictures=Pictures(_picture(), (scans, scans)),
        simulated=True,
    )
    return render_patient_sheet(sheet, _picture())


def _picture() -> bytes:
    """A picture as tall as two scans of four slices."""
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(9.4, 5.6), facecolor="black")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Path]:
    def of(text: str) -> Path:
        found = [p for p in (folder / "sheets").glob("*.html") if f"<h1>{text}</h1>" in p.read_text(encoding="utf-8")]
        assert len(found) == 1
        return found[0]

    return {
        "pictured": of("Patient P0000"),
        "hostile": of("Patient &lt;img src=x onerror=console.log(1)&gt;"),
        "abstained": of("Patient P0005"),
        "crowded": folder / "sheets" / "crowded.html",
        "index": folder / "index.html",
    }


@pytest.fixture(params=["pictured", "hostile", "abstained", "crowded", "index"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1400, "dark")])
def test_sheet_is_quiet_and_fits_the_screen(
    browser: Any, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(pages[name].as_uri())
    assert [url for url in requested if not url.startswith("data:image/png;base64,")] == [pages[name].as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(STRUCTURE) == []
    page.close()


def test_axe_finds_nothing_serious_on_a_sheet(browser: Any, pages: dict[str, Path], name: str) -> None:
    for scheme in ("light", "dark") if name in ("index", "pictured") else ("dark",):
        page = browser.new_context(bypass_csp=True, color_scheme=scheme).new_page()
        page.goto(pages[name].as_uri())
        assert serious_faults(page) == []
        page.close()


def test_a_sheet_is_one_page_of_paper(browser: Any, pages: dict[str, Path], name: str) -> None:
    pypdf = pytest.importorskip("pypdf")
    if name == "index":
        pytest.skip("the index is as long as the cohort")
    page = browser.new_page()
    page.goto(pages[name].as_uri())
    printed = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    assert len(printed.pages) == 1
    assert [round(float(side)) for side in printed.pages[0].mediabox[2:]] == [595, 842]
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 6, 8])
def test_less_crowded_sheets_are_one_page_too(browser: Any, tmp_path: Path, most: int) -> None:
    pypdf = pytest.importorskip("pypdf")
    (tmp_path / "sheet.html").write_text(_crowded(most), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "sheet.html").as_uri())
    assert len(pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True))).pages) == 1
    page.close()


def test_the_picture_and_both_figures_are_seen(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(pages["pictured"].as_uri())
    assert page.locator("img").evaluate("e => e.complete && e.naturalWidth > 100")
    assert "outlined" in str(page.locator("img").get_attribute("alt"))
    assert [box["width"] > 200 for box in (d.bounding_box() for d in page.locator("svg").all())] == [True, True]
    assert page.locator("h2").all_inner_texts() == [
        "Scans", "Model", "Clinical rules", "What moves this prediction", "Flags", "Origin",
    ]  # fmt: skip
    page.close()


def test_the_index_is_sorted_with_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["index"].as_uri())
    rows = "[...document.querySelectorAll('tbody tr')].map(r => r.cells[3].dataset.key)"
    before = page.evaluate(rows)
    button = page.get_by_role("button", name="Probability")
    button.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(rows) == sorted(before, key=float)
    assert page.locator("th[aria-sort]").all_inner_texts()[0].startswith("Probability")
    assert page.get_by_role("status").inner_text() == "Sorted by probability, ascending."
    page.keyboard.press("Space")
    assert page.evaluate(rows) == sorted(before, key=float, reverse=True)
    page.get_by_role("button", name="Row").click()
    assert page.evaluate(rows) == before
    first = page.locator("tbody a").first
    sheet = first.get_attribute("href")
    first.click()
    page.wait_for_url(f"**/{sheet}")
    assert page.locator("h1").inner_text() == "Patient P0000"
    page.close()
