"""The report of a rerun benchmark: every configuration beside its published AUC, and a figure of both."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from radiomics_crlm.provenance.files import write_json, write_text
from radiomics_crlm.report.drawing import BLUE, GREY, STYLE, VERMILLION, svg
from radiomics_crlm.report.markdown import code, image, page, table, words
from radiomics_crlm.report.wording import number

PAGE, NOTES, METRICS, FIGURE = "README.md", "notes.md", "metrics.json", "figures/anchor.svg"


def write_anchor_report(result: pd.DataFrame, to: Path, *, table: str, grid: str | None = None) -> Path:
    """Write ``README.md``, ``metrics.json`` and, where anything was published, a figure into a folder; ``notes.md``
    that lies there is included.

    Parameters
    ----------
    result
        ``configuration, auc, published, agrees`` of ``study.anchor.rerun``.
    to
        Folder of the report.
    table, grid
        Names of the files that were read, for the command on the page.
    """
    known = result.dropna(subset=["published"])
    notes = (to / NOTES).read_text(encoding="utf-8") if (to / NOTES).is_file() else ""
    if len(known):
        write_text(to / FIGURE, _figure(known) + "\n")
    write_json(to / METRICS, _metrics(result))
    write_text(to / PAGE, _page(result, known, notes, table, grid))
    return to / PAGE


def _metrics(result: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The AUC here and the published one, by configuration."""
    rows = {str(row["configuration"]): row for row in result.to_dict("records")}
    return {
        name: {key: row[key] for key in ("auc", "published") if number(row[key]) is not None}
        for name, row in rows.items()
    }


def _page(result: pd.DataFrame, known: pd.DataFrame, notes: str, name: str, grid: str | None) -> str:
    agreeing = int(known["agrees"].eq(True).sum())
    said = (
        f"{agreeing} of {len(known)} published configurations come out equal to four decimals; the largest difference "
        f"is {(known['auc'] - known['published']).abs().max():.4f}."
        if len(known)
        else "Nothing is published for these configurations."
    )
    command = (
        f"crlm anchor DATA/{name}" + (f" --grid DATA/{grid}" if grid else "") + " --to experiments/radmlbench_anchor"
    )
    rows = [
        [code(row["configuration"]), f"{row['auc']:.4f}", _published(row["published"]), _verdict(row["agrees"])]
        for row in sorted(result.to_dict("records"), key=lambda row: _in_order(str(row["configuration"])))
    ]
    head = ["Configuration (features, classifier, C)", "AUC here", "Published", "Equal to four decimals"]
    return page(
        [
            "# Regression anchor: published benchmark configurations rerun",
            "Protocol of radMLBench (doi:10.1016/j.compbiomed.2024.109140): 10 stratified folds, ANOVA selection and "
            "classifier fitted in each training fold, no scaling, predictions pooled over the folds. Rerun with the "
            "folds, the audit and the AUC of this package, so a difference would show a change in any of them.",
            words(said),
            image("AUC here against published", FIGURE) if len(known) else "",
            notes,
            "## All configurations",
            table(head, rows, right=(1, 2)),
            "## How to make this again",
            f"```sh\n{command}\n```",
            "`DATA` is the folder with the table and the grid of radMLBench. Any other table of that format (`ID`, "
            "`Target`, numeric columns) runs with `crlm anchor TABLE`.",
        ]
    )


def _in_order(name: str) -> list[tuple[str, float]]:
    """Sorts numbers in names as numbers.

    >>> sorted(["anova16/x", "anova4/x"], key=_in_order)
    ['anova4/x', 'anova16/x']
    """
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [("", float(part)) if part[:1].isdigit() else (part, 0.0) for part in parts]


def _published(value: object) -> str:
    known = number(value)
    return "not published" if known is None else f"{known:.4f}"


def _verdict(agrees: object) -> str:
    return "" if agrees is None else "yes" if agrees else "**no**"


def _figure(known: pd.DataFrame) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        axes = figure.subplots()
        low, high = known["published"].min() - 0.01, known["published"].max() + 0.01
        axes.plot([low, high], [low, high], color=GREY, linestyle=(0, (4, 3)), linewidth=1.0)
        for equal, marker, colour, label in ((True, "o", BLUE, "equal"), (False, "D", VERMILLION, "not equal")):
            rows = known[known["agrees"].eq(equal)]
            if len(rows):
                axes.plot(
                    rows["published"], rows["auc"], marker=marker, color=colour, linestyle="", markersize=4.5,
                    label=f"{label}: {len(rows)}",
                )  # fmt: skip
        axes.set_xlabel("Published AUC")
        axes.set_ylabel("AUC here")
        axes.legend(loc="upper left", frameon=False)
        described = "; ".join(f"{r['configuration']}: {r['auc']:.4f}" for r in known.to_dict("records"))
        return svg(figure, "anchor", "AUC here against published AUC", described + ".")
