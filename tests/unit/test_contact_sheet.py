"""Contact sheets: the same bytes for the same content, everything on the page, nothing else."""

from __future__ import annotations

import io
import re

import matplotlib.image
import numpy as np
import pytest

from radiomics_crlm.report.contact_sheet import Entry, Panel, Tile, draw_sheet, overall, render_index


def tile(label: int = 1, liver: bool = True, shape: tuple[int, int] = (60, 80)) -> Tile:
    lesions = np.zeros(shape, dtype=int)
    lesions[10:20, 30:45] = label
    inside = np.zeros(shape, dtype=bool)
    inside[4:-4, 4:-4] = True
    return Tile(np.full(shape, 100.0), lesions, inside if liver else None, (1.0, 1.0), "slice 3: lesion 1")


def panel(*tiles: Tile, findings: tuple[tuple[str, str], ...] = (("pass", "phase pass: liver 110 HU"),)) -> Panel:
    return Panel("baseline, CT portal_venous", tiles, (-20.0, 220.0), ("1 lesion", "liver 1500 ml"), findings)


def picture(png: bytes) -> np.ndarray:
    return np.asarray(matplotlib.image.imread(io.BytesIO(png)))


def test_the_same_content_gives_the_same_bytes() -> None:
    one, other = (draw_sheet("P-1", [panel(tile(), tile(2))]) for _ in range(2))
    assert one == other
    assert draw_sheet("P-2", [panel(tile(), tile(2))]) != one
    assert b"matplotlib" not in one.lower()  # no software, no date in the file
    assert b"tIME" not in one


def near(image: np.ndarray, colour: tuple[float, float, float]) -> int:
    return int((np.abs(image[:, :, :3] - colour).max(axis=2) < 0.05).sum())


def test_lesions_and_liver_are_drawn() -> None:
    orange = (0xE6 / 255, 0x9F / 255, 0.0)
    with_lesion = picture(draw_sheet("P", [panel(tile())]))
    without = picture(draw_sheet("P", [panel(tile(label=0))]))
    assert near(with_lesion, orange) > 50
    assert near(without, orange) == 0
    no_liver = picture(draw_sheet("P", [panel(tile(label=0, liver=False))]))
    assert (without != no_liver).any(axis=2).sum() > 100


def test_findings_are_coloured() -> None:
    red = (0xB3 / 255, 0x26 / 255, 0x1E / 255)
    failed = picture(draw_sheet("P", [panel(tile(0), findings=(("fail", "arterial phase"),))]))
    assert near(failed, red) > 20
    assert near(picture(draw_sheet("P", [panel(tile(0))])), red) == 0


def test_the_scale_bar_is_five_centimetres() -> None:
    """White pixels of the bar against the width of the picture in mm."""
    empty = Tile(np.full((200, 200), -100.0), np.zeros((200, 200), dtype=int), None, (1.0, 1.0), "")
    image = picture(draw_sheet("P", [panel(empty)]))
    dark = (image[:, :, :3] < 0.02).all(axis=2)
    columns = np.flatnonzero(dark.sum(axis=0) > 0.5 * dark.sum(axis=0).max())
    width = columns.max() - columns.min() + 1
    inside = image[:, columns.min() : columns.max() + 1, :3].min(axis=2)
    tile_rows = np.flatnonzero(dark[:, columns.min() + width // 2])
    part = inside[tile_rows.min() : tile_rows.max() + 1] > 0.95
    longest = int(part.sum(axis=1).max())
    assert longest * 200 / width == pytest.approx(50, abs=2.5)


@pytest.mark.parametrize("shape", [(2, 2), (1, 30), (30, 1), (300, 40)])
def test_odd_slices_are_drawn_too(shape: tuple[int, int]) -> None:
    one = Tile(np.ones(shape), np.ones(shape, dtype=int), np.ones(shape, dtype=bool), (1.0, 5.0), "t")
    assert draw_sheet("P", [panel(one), panel()]).startswith(b"\x89PNG")


def test_the_page_lists_what_needs_a_look_and_escapes_keys() -> None:
    entries = [
        Entry("P-1", "sheets/0001.png", "pass", ()),
        Entry("<b>P-2", "sheets/0002.png", "doubtful", (("doubtful", "late arterial phase & more"),)),
        Entry("P-3", None, "fail", (("fail", "baseline: unreadable image"),)),
    ]
    page = render_index(entries, "Contact sheets: test")
    assert "<b>P-2" not in page
    assert "&lt;b&gt;P-2" in page
    assert "late arterial phase &amp; more" in page
    assert page.count("<img ") == 2
    assert "No scan of this patient could be read" in page
    assert "1 pass" in page
    assert "1 doubtful" in page
    assert "1 fail" in page
    anchors, targets = set(re.findall(r'href="#([^"]+)"', page)), set(re.findall(r'id="([^"]+)"', page))
    assert anchors == targets
    assert len(anchors) == 2
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_overall_is_the_worst() -> None:
    assert overall({"pass": 2, "doubtful": 1, "fail": 1}) == "fail"
    assert overall({"pass": 2}) == "pass"
