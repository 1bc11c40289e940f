"""Parts of a card and of the tables behind it, for the tests that compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.provenance.tables import read_table

Card = dict[str, Any]


def stored(run: Path, name: str) -> pd.DataFrame:
    return read_table(run / "tables" / f"{name}.parquet", name)


def blocks_of(card: Card, key: str, kind: str) -> list[Card]:
    return [b for b in card[key]["blocks"] if b["kind"] == kind]


def cells_of(block: Card) -> dict[tuple[str, str], dict[str, Card]]:
    """Cells of a table block: (group, row) -> column -> cell."""
    names = [" ".join(filter(None, (c["title"], c["trait"]))) for c in block["columns"]]
    return {
        (g["title"], r["head"]): dict(zip(names, r["cells"], strict=True)) for g in block["groups"] for r in g["rows"]
    }
