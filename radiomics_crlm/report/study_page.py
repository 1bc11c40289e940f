"""The report of an experiment: a page of Markdown with figures, made from the saved artefacts of a finished run.

It holds aggregate results only: no patient key, value or date. The same artefacts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.errors import ConfigError, CrlmError, InputError
from radiomics_crlm.provenance.files import read_json, write_text
from radiomics_crlm.report import participants, study_figures, study_tables
from radiomics_crlm.report.artefacts import Artefacts, load_artefacts, patient_keys, without_keys
from radiomics_crlm.report.attribution import explanation
from radiomics_crlm.report.figures import forest
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.study_conclusion import further
from radiomics_crlm.report.study_data import write_data
from radiomics_crlm.report.study_markdown import render
from radiomics_crlm.report.verdicts import shown_model, verdict
from radiomics_crlm.report.wording import LEARNERS, cleaned
from radiomics_crlm.resources import resource

Part = dict[str, Any]

PAGE, NOTES, FIGURES = "README.md", "notes.md", "figures"
_STRONGEST = 10
_FULL_NAMES = {"c_index": "C (concordance)", "auc": "AUC"}


def write_report(out: Path, to: Path | None = None) -> Path:
    """Write the report of a finished run: ``README.md``, ``figures/*.svg``, ``metrics.json``, ``estimates.json`` and
    ``plots/*.csv``, each atomically.

    Parameters
    ----------
    out
        Folder of the run.
    to
        Folder of the report, by default ``out/report``. Hand-written ``notes.md`` in it becomes part of the page;
        figures of an earlier report that no longer exist are removed.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` is absent or does not hold a valid experiment.
    CrlmError
        If a patient key got into the notes.
    """
    folder = out / "report" if to is None else to
    artefacts = load_artefacts(out)
    notes = _notes(folder / NOTES, artefacts)
    content = build_report(out)
    drawn = draw_figures(content)
    for name, svg in drawn.items():
        write_text(folder / FIGURES / f"{name}.svg", svg + "\n")
    if (folder / FIGURES).is_dir():
        for old in (folder / FIGURES).glob("*.svg"):
            if old.stem not in drawn:
                old.unlink()
    write_data(artefacts, folder)
    write_text(folder / PAGE, render(content, set(drawn), notes))
    return folder / PAGE


def build_report(out: Path) -> Part:
    """Content of the report as plain data; a part whose artefact is not there carries ``absent`` with the reason.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` is absent or does not hold a valid experiment.
    """
    artefacts = load_artefacts(out)
    experiment, keys = artefacts.experiment, patient_keys(artefacts.tables)
    recorded = artefacts.part("cohort")
    leak = participants.leak(artefacts)
    content: Part = {
        "name": experiment.name,
        "title": experiment.title,
        "question": experiment.question,
        "claim": experiment.performance_claim,
        "cautions": list(experiment.cautions),
        "cohort": {key: recorded.get(key) for key in ("name", "citation", "simulated", "patients_in")},
        "leaked": [row["column"] for row in leak["admitted"]],
        "flow": participants.flow(artefacts),
        "outcomes": participants.outcomes(artefacts),
        "design": _design(artefacts, out),
        "samples": study_tables.samples(artefacts),
        "endpoints": [_endpoint(artefacts, name, leak) for name in artefacts.endpoints],
        "acceptance": _acceptance(out),
        "commands": _commands(artefacts),
    }
    text: Part = _unnamed(cleaned(content), keys)
    return text


def draw_figures(content: Part) -> dict[str, str]:
    """All figures of a report as SVG, by the name of their file."""
    return dict(_figures(content))


def _unnamed(part: Any, keys: set[str]) -> Any:
    """Free text of the experiment and the run without any patient key in it."""
    if isinstance(part, str):
        return without_keys(part, keys)
    if isinstance(part, dict):
        return {key: _unnamed(value, keys) for key, value in part.items()}
    return [_unnamed(value, keys) for value in part] if isinstance(part, list) else part


def _notes(path: Path, artefacts: Artefacts) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise InputError("the notes of the report are not UTF-8", where=path.name) from None
    keys = {key for key in patient_keys(artefacts.tables) if not key.isdigit()}
    if any(key in text for key in keys):
        raise CrlmError("the notes of the report name a patient", where=path.name, remedy="remove the key")
    return text


def _design(artefacts: Artefacts, out: Path) -> Part:
    experiment = artefacts.experiment
    candidates = _candidates(out / "tables" / "tuning.csv")
    search = f"{experiment.tuning.trials} trials (Optuna)" if experiment.tuning.method == "optuna" else "grid"
    return {
        **experiment.design.model_dump(mode="json"),
        "learners": [
            {"learner": name, "title": LEARNERS.get(name, name), "candidates": candidates.get(name)}
            for name in experiment.learners
        ],
        "search": search,
        "selection": f"{experiment.selection.method}, {experiment.selection.k} radiomic inputs"
        if experiment.selection.method != "none"
        else "none",
        "with_radiomics": any(body.radiomics is not None for body in experiment.feature_sets.values()),
        "feature_sets": [{"name": name, "title": body.title} for name, body in experiment.feature_sets.items()],
        "rules": [
            {"name": name, "title": artefacts.model_title(name)}
            for name in (*experiment.comparators, *experiment.reported_scores)
        ],
        "rule_policy": experiment.rule_policy,
    }


def _candidates(path: Path) -> dict[str, int]:
    """Most settings that were tried for a learner in one outer fold."""
    if not path.is_file():
        return {}
    tuning = pd.read_csv(path, usecols=["endpoint", "model", "repeat", "fold"])
    tried = tuning.groupby(["endpoint", "model", "repeat", "fold"]).size().reset_index(name="tried")
    tried["learner"] = tried["model"].str.partition("/")[2]
    return {str(name): int(count) for name, count in tried.groupby("learner")["tried"].max().items()}


def _endpoint(artefacts: Artefacts, name: str, leak: Part) -> Part:
    config = artefacts.endpoints[name]
    shown = shown_model(artefacts, name)
    models = study_tables.shown_models(artefacts, name, shown) if shown else []
    differences = study_tables.differences(artefacts, name)
    said = verdict(artefacts, name, leaked=leak["allowed"] and name in leak["endpoints"])
    explained, answers = explanation(artefacts, name, shown), study_tables.answer(artefacts, name)
    return {
        "endpoint": name,
        "title": config.title,
        "population": config.population_title,
        "metric": primary_metric(config),
        "model": shown,
        "model_title": study_tables.title_of(artefacts, shown) if shown else "",
        "headline": said.get("headline") or said.get("absent", ""),
        "lines": [line["text"] for line in said["lines"] if answers is None or line["kind"] != "radiomics"],
        "further": further(artefacts, name, shown, differences),
        "answers": answers,
        "performance": study_tables.performance(artefacts, name),
        "forest": study_tables.forest_rows(artefacts, name),
        "calibration": study_tables.calibration(artefacts, name),
        "differences": differences,
        "calibration_panels": study_tables.calibration_panels(artefacts, name, models),
        "decision_panels": study_tables.decision_panels(artefacts, name, models),
        "shap": _shap(explained),
    }


def _shap(explained: Part) -> Part:
    if "absent" in explained:
        return {"absent": explained["absent"]}
    rows = [
        {key: f[key] for key in ("feature", "meaning", "mean_text", "direction")} | {"mean": round(f["mean"], 6)}
        for f in explained["features"][:_STRONGEST]
    ]
    return {"n": explained["n"], "inputs": explained["inputs"], "rows": rows}


def _acceptance(out: Path) -> list[Part]:
    """Declared criteria and whether they hold; empty where none were declared or judged."""
    try:
        judged = read_json(out / "acceptance.json", what="the acceptance of the run")
    except InputError:
        return []
    return [{"endpoint": name, **body} for name, body in judged.items()]


def _commands(artefacts: Artefacts) -> list[str]:
    """The one line that makes the run and this page again."""
    name = artefacts.experiment.name
    try:
        shipped = resource(f"experiments/{name}.yaml").is_file()
    except ConfigError:
        shipped = False
    file = name if shipped else f"{name}.yaml"
    data = "" if artefacts.experiment.cohort.kind == "simulated" else " --data DATA"
    return [f"crlm run {file} --out out/{name}{data} && crlm report out/{name} --to experiments/{name}"]


def _figures(content: Part) -> Iterator[tuple[str, str]]:
    for part in content["endpoints"]:
        name, title = part["endpoint"], part["title"]
        if part["forest"]:
            metric = _FULL_NAMES[part["metric"]]
            ident = f"{name}_forest"
            label = f"{metric} with 95 % interval"
            heading = f"{metric} of all models and scores: {title}"
            yield ident, forest(part["forest"], label=label, reference=0.5, ident=ident, title=heading)
        if part["calibration_panels"]:
            ident = f"{name}_calibration"
            heading = f"Calibration: {title}"
            yield ident, study_figures.calibration_curves(part["calibration_panels"], ident=ident, title=heading)
        if part["decision_panels"]:
            ident = f"{name}_decision"
            heading = f"Decision curves: {title}"
            yield ident, study_figures.decision_curves(part["decision_panels"], ident=ident, title=heading)
        if part["shap"].get("rows"):
            ident = f"{name}_importance"
            heading = f"Strongest inputs of {part['model_title']}: {title}"
            yield ident, study_figures.importance(part["shap"]["rows"], ident=ident, title=heading)
