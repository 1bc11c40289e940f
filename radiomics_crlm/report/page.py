"""The card as one HTML page that needs nothing else: no script, no request, figures inline."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from radiomics_crlm.report import figures, plots
from radiomics_crlm.report.wording import SMALL_CELL

Part = Mapping[str, Any]

_REFERENCE = {"c_index": 0.5, "auc": 0.5}
_NAMES = {"c_index": "C (concordance)", "auc": "AUC"}


def draw_figures(card: Part) -> dict[str, str]:
    """All figures of a card as SVG, by the name under which the page shows them."""
    return dict(_figures(card))


def render_card(card: Part, drawn: Mapping[str, str] | None = None) -> str:
    """HTML page of a card made by ``build_card``; pure, the same card gives the same bytes.

    ``drawn`` are its figures, if they have been drawn already (:func:`draw_figures`).

    All text is escaped; a content security policy forbids scripts and requests of any kind. Cells of tables name the
    place of their content in the card: ``data-path="population.rows.0.known"``.
    """
    svgs = draw_figures(card) if drawn is None else drawn
    marked = {name: Markup(svg) for name, svg in svgs.items()}  # noqa: S704 (figures escape their own text)
    template = environment().get_template("card.html.j2")
    return template.render(card=card, figures=marked, small_cell=SMALL_CELL)


@functools.cache
def environment() -> Environment:
    """The templates of the report, with every text escaped."""
    made = Environment(
        loader=PackageLoader("radiomics_crlm.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["ident"] = figure_ident
    return made


def figure_ident(path: str) -> str:
    """Name of a figure block, from its place in the card.

    >>> figure_ident("decisions.blocks.1")
    'decisions-1'
    """
    return path.replace(".blocks.", "-").replace(".", "-").replace("_", "-")


def _figures(card: Part) -> Iterator[tuple[str, str]]:
    """All figures that the card's content allows, by the id under which the template looks them up."""
    for k, part in enumerate(card["performance"]):
        yield from _performance_figures(f"forest{k}", f"difference{k}", part)
    for k, part in enumerate(card["calibration"]):
        if "absent" not in part:
            title = f"Calibration of {part['model_title']}: {part['title']}"
            yield f"calibration{k}", figures.calibration(part, ident=f"calibration{k}", title=title)
    for k, part in enumerate(card["courses"]):
        if "absent" not in part and part["timed"]:
            title = f"{part['title']} by predicted {part['word']}"
            yield f"course{k}", figures.course(part, ident=f"course{k}", title=title)
    for k, part in enumerate(card["explanations"]):
        if "absent" not in part:
            title = f"Strongest inputs of {part['model_title']}: {part['title']}"
            yield f"shap{k}", figures.beeswarm(part, ident=f"shap{k}", title=title)
    drawable = [row for row in card["scores"]["cohort"].get("rows", []) if row["distribution"]]
    if drawable:
        yield "scores", figures.bars(drawable, ident="scores", title="Distribution of the rule scores in this cohort")
    yield from _block_figures(card)


def _block_figures(card: Part) -> Iterator[tuple[str, str]]:
    for key in (key for shown in card["sections"] for key in shown["blocks"]):
        for k, block in enumerate(card[key]["blocks"]):
            if block["kind"] == "figure":
                name = figure_ident(f"{key}.blocks.{k}")
                yield name, plots.draw(block["draw"], block["data"], ident=name, title=block["title"])


def _performance_figures(forest: str, difference: str, part: Part) -> Iterator[tuple[str, str]]:
    rows = [
        {"title": row["title"], "kind": row["kind"]} | _first_cell(row)
        for row in (part["tables"][0]["rows"] if part.get("tables") else [])
        if row["cells"][0].get("absent") != "not applicable"
    ]
    metric = part["metric"]
    if any(row["estimate"] is not None for row in rows):
        yield (
            forest,
            figures.forest(
                rows,
                label=f"{_NAMES[metric]} with 95 % interval",
                reference=_REFERENCE[metric],
                ident=forest,
                title=f"{_NAMES[metric]} of all models and scores: {part['title']}",
            ),
        )
    if any(row["estimate"] is not None for row in part["against"]):
        yield (
            difference,
            figures.forest(
                part["against"],
                label=f"Difference in {part['metric_title']} with 95 % interval",
                reference=0.0,
                ident=difference,
                title=f"Model of the verdict minus each of the others, {part['metric_title']}: {part['title']}",
            ),
        )


def _first_cell(row: Part) -> dict[str, Any]:
    cell = row["cells"][0]
    return {key: cell.get(key) for key in ("estimate", "lower", "upper", "text")}
