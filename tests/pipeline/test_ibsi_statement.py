"""A study says beside its feature table what the IBSI standardises of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.provenance.tables import read_table

pytestmark = pytest.mark.xdist_group("small study")


def test_statement_fits_the_feature_table(small_study: Path) -> None:
    (path,) = small_study.rglob("ibsi_statement.json")
    table = read_table(path.with_name("features_lesion.parquet"), "features_lesion")
    content = read_json(path, what="IBSI statement")
    used = table[["profile", "settings_hash", "engine"]].drop_duplicates()
    assert set(content) == set(used["profile"])
    columns = {c for c in table.columns if c.startswith("lesion__")}
    assert columns == {f"lesion__{f['name']}" for s in content.values() for f in s["features"]}
    for _, row in used.iterrows():
        own = content[row["profile"]]
        assert (own["settings_hash"], own["engine"]) == (row["settings_hash"], row["engine"])
        assert f"{sum(f['standardised'] for f in own['features'])} of {len(own['features'])}" in own["text"]
