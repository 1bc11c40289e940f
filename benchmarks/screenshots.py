"""Pictures of the pages for the documents, from a finished run of `crlm demo`.

    python benchmarks/screenshots.py out/demo/study docs/images

Needs Chromium and the Python package playwright (group dev). The card, its checklists and an index over the folder
above the run are written anew first; pictures are PNG below 300 kB.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from radiomics_crlm.report import write_card
from radiomics_crlm.report.run_index import write_index

_LARGEST = 300_000
_COLOURS = 128


@dataclass(frozen=True)
class Picture:
    """A part of a page: from an anchor (or the top) down, at a width and in a colour scheme."""

    name: str
    page: str
    anchor: str = ""
    width: int = 1280
    height: int = 900
    scheme: str = "light"


PICTURES = (
    Picture("card", "card.html", height=1000),
    Picture("card_dark", "card.html", anchor="decisions", scheme="dark"),
    Picture("card_answer", "card.html", anchor="answer"),
    Picture("card_decisions", "card.html", anchor="decisions"),
    Picture("card_phone", "card.html", width=390, height=844, scheme="dark"),
    Picture("checklists", "checklists.html"),
    Picture("checklist_items", "checklists.html", anchor="metrics", height=1000),
    Picture("index", "index.html", height=760),
)


def main(run: Path, to: Path) -> None:
    """Write all pictures."""
    write_card(run)
    write_index([run.parent], run / "index.html")
    to.mkdir(parents=True, exist_ok=True)
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--headless"])
        for picture in PICTURES:
            size = _take(browser, run / picture.page, picture, to / f"{picture.name}.png")
            print(f"{picture.name}.png: {size} bytes")
            if size > _LARGEST:
                sys.exit(f"{picture.name}.png is larger than {_LARGEST} bytes")
        browser.close()


def _take(browser: Any, page: Path, picture: Picture, to: Path) -> int:
    size = {"width": picture.width, "height": picture.height}
    shown = browser.new_page(viewport=size, color_scheme=picture.scheme)
    shown.goto(page.resolve().as_uri() + (f"#{picture.anchor}" if picture.anchor else ""))
    shown.screenshot(path=to)
    shown.close()
    Image.open(to).convert("RGB").quantize(_COLOURS).save(to, optimize=True)
    return to.stat().st_size


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
