"""The index of the patient sheets: who was scored or not, what was flagged, one link per sheet."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from radiomics_crlm.report.page import environment
from radiomics_crlm.report.sheet_words import USE
from radiomics_crlm.report.wording import NO_VALUE, cleaned

Part = dict[str, Any]


def index_entry(sheet: Mapping[str, Any], stem: str) -> Part:
    """The line of a sheet in the index: key, row, status, last probability, flags, and the name of its files."""
    rows = sheet["answer"].get("rows", [])
    last = rows[-1]["probability"] if rows else {"value": None, "text": NO_VALUE}
    words = sheet["abstention"]["reason"] if sheet["abstention"] else ""
    return {
        "file": stem,
        "heading": sheet["heading"],
        "row": sheet["row"],
        "status": sheet["status"],
        "reason": words,
        "horizon": rows[-1]["horizon"] if rows else "",
        "probability": dict(last),
        "flags": [flag["flag"].replace("_", " ") for flag in sheet["flags"]],
    }


def render_sheet_index(entries: Sequence[Mapping[str, Any]], about: Mapping[str, str]) -> str:
    """The page: a table that is sorted by buttons in its heads; without script it is in the order of the scores.

    The only script of the page is the one that sorts; the content security policy names its hash and forbids any other,
    and every request.
    """
    script = _script()
    mark = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    shown = [cleaned(dict(entry)) for entry in entries]
    counts = {status: sum(e["status"] == status for e in shown) for status in ("scored", "abstained")}
    horizon = next((e["horizon"] for e in reversed(shown) if e["horizon"]), "")
    return (
        environment()
        .get_template("sheet_index.html.j2")
        .render(
            entries=shown,
            about=cleaned(dict(about)),
            counts=counts,
            use=USE,
            horizon=horizon,
            script=Markup(script),  # noqa: S704 (a constant of this package)
            script_hash=mark,
        )
    )


def _script() -> str:
    loader = environment().loader
    assert loader is not None  # noqa: S101 - made with one
    return loader.get_source(environment(), "sheet_index.js")[0].strip()
