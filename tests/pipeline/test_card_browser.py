"""The card in a real browser: nothing is requested, nothing complains, nothing runs off the screen."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from radiomics_crlm.report import write_card

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is absent")

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_WIDTHS = (390, 1280)
_LATE = [{"column": "margin_positive", "available_at": "postoperative", "speaks_at": "preoperative"}]


@functools.cache
def _run_folder() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "unit" / "run_folder.py"
    spec = importlib.util.spec_from_file_location("run_folder_for_browser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A plain card, and one with all that can go wrong: leak, no claim, simulated, a missing table, long names."""
    make = _run_folder()
    plain = make.make_run_folder(tmp_path_factory.mktemp("plain"), n=60, endpoints=("recurrence", "os"))
    bad = make.make_run_folder(
        tmp_path_factory.mktemp("bad"), n=60, endpoints=("recurrence", "recurrence_24m"), performance_claim=False,
        title="Anunreasonablylongwordwithoutasinglebreakthatmustnotpushthepagebeyondthescreenofaphone" * 2,
    )  # fmt: skip
    leak = {"allowed": True, "refused": {}, "admitted": {"recurrence": _LATE}}
    make.edit_run(bad, leak=leak, cohort={"name": "x" * 300, "simulated": True, "patients_in": 61})
    (bad / "tables" / "rules.parquet").unlink()
    return {"plain": write_card(plain), "bad": write_card(bad)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if _CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox", "--headless", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield running
        running.close()


@pytest.fixture(params=["plain", "bad"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("width", _WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
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
    page.close()


def test_headings_figures_and_tables_are_there(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(cards["plain"].as_uri())
    titles = page.locator("h2").all_inner_texts()
    assert titles == [
        "Verdict", "Intended use and cautions", "Participants", "Outcome definitions",
        "Predictors and when each is known", "Performance", "Calibration", "Observed course by predicted risk",
        "What moves the prediction", "Clinical scores in this cohort", "Limits", "Provenance",
    ]  # fmt: skip
    drawings = page.get_by_role("img")
    assert drawings.count() == page.locator("svg").count() == 13
    assert all(box["width"] > 200 and box["height"] > 80 for box in (d.bounding_box() for d in drawings.all()))
    assert page.locator("table:visible").count() > 10
    page.close()


def test_contents_stay_in_sight_and_lead_to_their_sections(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(cards["plain"].as_uri())
    for link in page.locator("nav.toc a").all():
        link.click()
        target = page.locator(str(link.get_attribute("href")))
        top = target.bounding_box()["y"]
        bar = page.locator("nav.toc").bounding_box()
        assert bar["y"] == 0
        assert top >= bar["height"] - 1
    page.close()


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


_CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255)
      .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const poor = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.add(e.tagName + '.' + e.className);
  }
  return [...poor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Any, cards: dict[str, Path], name: str, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(cards[name].as_uri())
    assert page.evaluate(_CONTRAST) == []
    page.close()


def test_print_leaves_nothing_to_scroll(browser: Any, cards: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 760, "height": 1000})
    page.goto(cards["plain"].as_uri())
    page.emulate_media(media="print")
    assert not page.locator("nav.toc").is_visible()
    overflow = "[...document.querySelectorAll('.scroll, .plate')].map(e => getComputedStyle(e).overflowX)"
    assert set(page.evaluate(overflow)) == {"visible"}
    page.close()
