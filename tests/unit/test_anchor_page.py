"""The report of the benchmark anchor: every configuration, honest about those that differ, the same bytes again."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd

from radiomics_crlm.report.anchor_page import write_anchor_report

RESULT = pd.DataFrame(
    {
        "configuration": ["anova4/naive_bayes", "anova64/naive_bayes", "anova8/logistic0.5"],
        "auc": [0.62781, 0.57711, 0.64662],
        "published": [0.6278, 0.5780, 0.6466],
        "agrees": [True, False, True],
    }
)


def test_every_configuration_is_shown_and_a_difference_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("## What it is\n\nA lesson.\n", encoding="utf-8")
    text = write_anchor_report(RESULT, tmp_path, table="table.gz", grid="grid.csv").read_text(encoding="utf-8")
    assert "2 of 3 published configurations come out equal to four decimals; the largest difference is 0.0009." in text
    assert "| `anova64/naive_bayes` | 0.5771 | 0.5780 | **no** |" in text
    assert "## What it is\n\nA lesson.\n\n## All configurations" in text
    assert "crlm anchor DATA/table.gz --grid DATA/grid.csv --to experiments/radmlbench_anchor" in text
    svg = (tmp_path / "figures" / "anchor.svg").read_bytes()
    ET.fromstring(svg)  # noqa: S314  (made here)
    again = tmp_path / "again"
    write_anchor_report(RESULT, again, table="table.gz", grid="grid.csv")
    assert (again / "figures" / "anchor.svg").read_bytes() == svg


def test_without_published_values_nothing_is_compared(tmp_path: Path) -> None:
    alone = RESULT.assign(published=float("nan"), agrees=None).head(1)
    text = write_anchor_report(alone, tmp_path, table="other.csv").read_text(encoding="utf-8")
    assert "Nothing is published for these configurations." in text
    assert "| `anova4/naive_bayes` | 0.6278 | not published |  |" in text
    assert not (tmp_path / "figures").exists()
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == {
        "anova4/naive_bayes": {"auc": 0.62781}
    }


def test_metrics_are_those_of_the_result(tmp_path: Path) -> None:
    write_anchor_report(RESULT, tmp_path, table="table.gz")
    found = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert found == RESULT.set_index("configuration")[["auc", "published"]].to_dict("index")
