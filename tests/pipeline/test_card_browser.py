"""The card and the pages beside it in a real browser: nothing is requested, nothing complains, nothing runs off the
screen, and all of it can be read by keyboard and screen reader.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from full_run_folder import make_full_run_folder
from page_checks import CONTRAST, STRUCTURE, serious_faults
from run_folder import edit_run, make_run_folder

from radiomics_crlm.report import write_card
from radiomics_crlm.report.card_diff import write_diff
from radiomics_crlm.report.contents import SECTIONS
from radiomics_crlm.report.rules_sheet import build_sheet, render_sheet
from radiomics_crlm.report.run_index import write_index

_SCREENSHOTS = os.environ.get("CRLM_SCREENSHOTS")
_PATIENT: dict[str, Any] = {
    "patient_id": "P1", "assessed_at": "before_operation", "node_positive_primary": True, "dfi_months": 3.0,
    "n_liver_mets": 2, "largest_met_mm": 50.0, "extrahepatic_status": "none", "sflr_pct": 26.0,
}  # fmt: skip
_LATE = [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A card with every section filled, one of a small run, and one with all that can go wrong: leak, no claim,
    simulated, a missing table, long names; and the comparison of the last two.
    """
    full = make_full_run_folder(tmp_path_factory.mktemp("full"), n=120)
    plain = make_run_folder(tmp_path_factory.mktemp("plain"), n=60, endpoints=("recurrence", "os"))
    bad = make_run_folder(
        tmp_path_factory.mktemp("bad"), n=60, endpoints=("recurrence", "recurrence_24m"), performance_claim=False,
        title="Anunreasonablylongwordwithoutasinglebreakthatmustnotpushthepagebeyondthescreenofaphone" * 2,
    )  # fmt: skip
    leak = {"allowed": True, "refused": {}, "admitted": {"recurrence": _LATE}}
    edit_run(bad, leak=leak, cohort={"name": "x" * 300, "simulated": True, "patients_in": 61})
    (bad / "tables" / "rules.parquet").unlink()
    found = {"full": write_card(full), "plain": write_card(plain), "bad": write_card(bad)}
    pages = tmp_path_factory.mktemp("pages")
    (pages / "stopped" / ".unfinished").mkdir(parents=True)
    write_index([full, bad, pages], pages / "index.html")
    (pages / "rules.html").write_text(render_sheet(build_sheet(_PATIENT)), encoding="utf-8")
    others = {"index": pages / "index.html", "rules": pages / "rules.html", "checklists": full / "checklists.html"}
    return found | others | {"diff": write_diff(bad, plain)[1]}


@pytest.fixture(params=["full", "bad", "diff", "checklists", "index", "rules"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
def test_page_is_quiet_and_fits_the_screen(
    browser: Any, cards: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    address = cards[name].as_uri()
    page.goto(address)
    assert requested == [address]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = page.evaluate(
        """width => [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, .plate, .toc'))
           .filter(e => e.getBoundingClientRect().right > width + 1 && getComputedStyle(e).position !== 'absolute')
           .map(e => e.tagName + '.' + e.className)""",
        width,
    )
    assert too_wide == []
    if _SCREENSHOTS:
        page.screenshot(path=Path(_SCREENSHOTS) / f"{name}-{width}-{scheme}.png", full_page=True)
    page.close()


def test_headings_figures_and_tables_are_there(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(cards["plain"].as_uri())
    titles = page.locator("h2").all_inner_texts()
    assert titles == [part.title for part in SECTIONS]
    drawings = page.get_by_role("img")
    assert drawings.count() == page.locator("svg").count() == 13


def test_every_figure_of_a_full_card_is_drawn(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(cards["full"].as_uri())
    drawings = page.get_by_role("img")
    assert drawings.count() == page.locator("svg").count() > 18
    for name in ("sample-size", "horizons", "decisions", "subgroups", "instability", "robustness"):
        assert page.locator(f"svg[aria-labelledby^='{name}-']").count() > 0, name
    assert all(box["width"] > 200 and box["height"] > 80 for box in (d.bounding_box() for d in drawings.all()))
    assert page.locator("table:visible").count() > 10
    page.close()


@pytest.mark.parametrize("width", [800, 1400])
def test_contents_stay_in_sight_and_lead_to_their_sections(browser: Any, cards: dict[str, Path], width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(cards["full"].as_uri())
    for link in page.locator("nav.toc a").all():
        section = str(link.get_attribute("href"))
        link.click()
        page.wait_for_url(f"**{section}")
        target = page.locator(section).bounding_box()
        bar = page.locator("nav.toc").bounding_box()
        assert bar["y"] == 0
        if width < 1240:  # a bar at the top, else a column at the side
            assert target["y"] >= bar["height"] - 1
        else:
            assert bar["x"] == 0
            assert target["x"] >= bar["width"]
        assert target["y"] < 900
    page.close()


_STOPS = """() => [...document.querySelectorAll('a[href], summary, [tabindex="0"]')]
  .filter(e => e.checkVisibility() && !e.closest('details:not([open]) > :not(summary)')).length"""


def test_keyboard_reaches_every_link_table_and_fold(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto(cards["full"].as_uri())
    stops = page.evaluate(_STOPS)
    page.evaluate(
        "() => { window.reached = new Set(); addEventListener('focusin', e => window.reached.add(e.target)); }"
    )
    for _ in range(stops + 5):
        page.keyboard.press("Tab")
    assert page.evaluate("() => window.reached.size") >= stops
    page.close()


def test_focus_is_seen(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(cards["full"].as_uri())
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    drawn = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert drawn != "none"
    page.close()


@pytest.mark.parametrize("which", ["checklists", "index"])
def test_keyboard_goes_through_a_page_in_its_order(browser: Any, cards: dict[str, Path], which: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(cards[which].as_uri())
    stops = min(page.evaluate(_STOPS), 40)
    page.evaluate(
        """() => { window.met = []; addEventListener('focusin', e => window.met.push([
             [...document.querySelectorAll('*')].indexOf(e.target), getComputedStyle(e.target).outlineStyle])); }"""
    )
    for _ in range(stops):
        page.keyboard.press("Tab")
    met = page.evaluate("() => window.met")
    places = [place for place, _ in met]
    assert len(places) == stops
    assert places == sorted(places)
    assert "none" not in {outline for _, outline in met}
    page.close()


def test_skip_link_comes_first_and_leads_to_the_content(browser: Any, cards: dict[str, Path], name: str) -> None:
    page = browser.new_page()
    page.goto(cards[name].as_uri())
    page.keyboard.press("Tab")
    focused = page.evaluate("() => [document.activeElement.className, document.activeElement.getAttribute('href')]")
    assert focused == ["skip", "#main"]
    assert page.locator("a.skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.wait_for_url("**#main")  # the browser tells of it later
    page.keyboard.press("Tab")
    inside = "() => document.activeElement.closest('main') !== null || document.activeElement === document.body"
    assert page.evaluate(inside)
    page.close()


def test_folds_open_by_keyboard(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(cards["full"].as_uri())
    fold = page.locator("details:not([open]) > summary").last
    fold.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.parentElement.open")
    page.keyboard.press("Space")
    assert not page.evaluate("() => document.activeElement.parentElement.open")
    page.close()


def test_structure_that_screen_readers_need(browser: Any, cards: dict[str, Path], name: str) -> None:
    page = browser.new_page()
    page.goto(cards[name].as_uri())
    assert page.evaluate(STRUCTURE) == []
    page.close()


_LOOKS = {"phone": (390, "light"), "dark": (1280, "dark")}


def test_axe_finds_nothing_serious(browser: Any, cards: dict[str, Path], name: str) -> None:
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(cards[name].as_uri())
    found = {}
    for look, (width, scheme) in _LOOKS.items():
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        # All rules once; then those that colour and width can change.
        found[look] = serious_faults(
            page, *([] if look == "phone" else ["color-contrast", "scrollable-region-focusable"])
        )
    assert found == {look: [] for look in _LOOKS}
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_leak_banner_is_seen_and_red(browser: Any, cards: dict[str, Path], scheme: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page.goto(cards["bad"].as_uri())
    banner = page.get_by_role("alert")
    assert banner.is_visible()
    assert banner.inner_text().startswith("LEAK")
    assert "margin_positive" in banner.inner_text()
    red, green, blue = page.evaluate(
        """() => getComputedStyle(document.querySelector('.leak-warning')).backgroundColor.match(/\\d+/g).map(Number)"""
    )
    assert red > 120
    assert max(green, blue) < 60
    assert banner.bounding_box()["y"] < page.locator("#verdict").bounding_box()["y"]
    page.close()


def test_no_banner_without_a_leak(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(cards["plain"].as_uri())
    assert page.get_by_role("alert").count() == 0
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Any, cards: dict[str, Path], name: str, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(cards[name].as_uri())
    assert page.evaluate(CONTRAST) == []
    page.close()


def test_print_leaves_nothing_to_scroll(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 690, "height": 1000})  # an A4 sheet within its margins
    page.goto(cards["full"].as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 690
    assert not page.locator("nav.toc").is_visible()
    overflow = "[...document.querySelectorAll('.scroll, .plate')].map(e => getComputedStyle(e).overflowX)"
    assert set(page.evaluate(overflow)) == {"visible"}
    page.close()
