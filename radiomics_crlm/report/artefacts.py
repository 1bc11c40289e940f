"""The saved artefacts of a run: ``run.json`` and the tables, each with the reason if it is not there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from radiomics_crlm.clinical import describe
from radiomics_crlm.config import EndpointConfig, ExperimentConfig, parse_config
from radiomics_crlm.errors import ConfigError, CrlmError, InputError
from radiomics_crlm.provenance.files import read_json, sha256_file
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.report.wording import LEARNERS, clean, main_clause

TABLES = ("metrics", "comparisons", "predictions", "outcomes", "attributions", "rules", "exclusions", "folds")
"""Tables that every run writes: the card says of each that is absent why."""

OPTIONAL = {
    "answers": "the experiment names no arms of an answer",
    "sample_size": "the run wrote no sample-size panel",
    "horizon_metrics": "the run did not evaluate horizons",
    "calibration_curves": "the run wrote no curves",
    "decision_curves": "the run wrote no decision curves",
    "subgroups": "the run did not evaluate subgroups",
    "reclassification": "the run did not reclassify",
    "instability": "the run did not refit the model on bootstrap samples",
    "thresholds": "the run chose no thresholds",
    "conformal_coverage": "the run delivered no model",
    "probability_attributions": "the explained models give no probabilities",
    "attribution_stability": "the run did not compare explanations between folds",
    "input_groups": "the run did not group the inputs of a model",
    "dependence": "no column of an explained model is known for enough patients",
    "nomogram_points": "no delivered model is linear",
    "nomogram_totals": "no delivered model is linear",
    "rule_predictions": "no rule of the run gives probabilities",
    "features_patient": "the run has no table of features per patient",
    "feature_stability": "the study did not use what crlm robustness measures",
}
"""Tables that a run writes where it is asked to, with the reason if it was not: their sections say so."""

CONTROL_TITLES = {
    "volume_only": "Volume of the lesions alone",
    "negative_control": "Negative control: radiomics of other patients",
}
"""Feature sets that a study makes itself."""

STATEMENT = "ibsi_statement.json"


@dataclass(frozen=True)
class Artefacts:
    """What a run left behind.

    ``absent`` says of each table that cannot be used why not, ``files`` is the SHA-256 of each file that was read,
    ``standardisation`` the statement per extraction profile (empty without images), and ``elsewhere`` the metrics of
    each external cohort. ``folder`` is where they were read from; it is never shown.
    """

    run: Mapping[str, Any]
    experiment: ExperimentConfig
    endpoints: Mapping[str, EndpointConfig]
    tables: Mapping[str, pd.DataFrame]
    absent: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    standardisation: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    folder: Path | None = None

    def part(self, name: str) -> Mapping[str, Any]:
        """An object of ``run.json``; empty if it is absent."""
        value = self.run.get(name)
        return value if isinstance(value, Mapping) else {}

    def of_endpoint(self, table: str, endpoint: str) -> pd.DataFrame | None:
        """Rows of one endpoint, or None if the table cannot be used or has none."""
        if table not in self.tables:
            return None
        rows = self.tables[table]
        rows = rows.loc[rows["endpoint"] == endpoint]
        return rows if len(rows) else None

    def why_absent(self, table: str) -> str:
        """The reason to print where the rows of an endpoint are not there."""
        return self.absent.get(table, f"the table {table!r} has no rows for it")

    def model_title(self, model: str) -> str:
        """A model or a score in words: the title of its feature set and its learner, or the title of the score."""
        feature_set, _, learner = model.partition("/")
        if learner and feature_set in CONTROL_TITLES:
            return f"{CONTROL_TITLES[feature_set]} ({LEARNERS.get(learner, learner)})"
        if learner and feature_set in self.experiment.feature_sets:
            return f"{self.experiment.feature_sets[feature_set].title} ({LEARNERS.get(learner, learner)})"
        model, _, form = model.partition(" (")
        if form:
            return f"{self.model_title(model)}, {form.removesuffix(')')}"
        for scores in self.part("rule_scores").values():
            if model in scores and scores[model].get("title"):
                return main_clause(scores[model]["title"])
        try:
            return main_clause(describe(model).title)
        except ConfigError:
            return model

    def is_model(self, name: str) -> bool:
        """Whether a row of the metrics belongs to a model fitted here (otherwise to a score)."""
        made = name.partition("/")[0]
        return "/" in name and (made in self.experiment.feature_sets or made in CONTROL_TITLES)


def load_artefacts(out: Path) -> Artefacts:
    """Read a run folder.

    Raises
    ------
    InputError
        If ``run.json`` is absent, unreadable, or names an endpoint that it does not define.
    ConfigError
        If the experiment or an endpoint in it is not valid.
    """
    run = read_json(out / "run.json", what="the record of the run")
    experiment = parse_config(ExperimentConfig, run.get("experiment"), where="run.json: experiment")
    bodies = run.get("endpoints", {})
    if missing := [name for name in experiment.endpoints if name not in bodies]:
        raise InputError(
            "the record of the run does not define its endpoints", where="run.json", got=", ".join(missing)
        )
    endpoints = {
        name: parse_config(EndpointConfig, bodies[name], where=f"run.json: {name}") for name in experiment.endpoints
    }
    tables: dict[str, pd.DataFrame] = {}
    absent: dict[str, str] = {}
    files: dict[str, str] = {}
    for name in (*TABLES, *OPTIONAL):
        path = out / "tables" / f"{name}.parquet"
        try:
            tables[name] = read_table(path, name)
            files[path.name] = sha256_file(path)
        except CrlmError as error:
            absent[name] = OPTIONAL[name] if name in OPTIONAL and not path.is_file() else error.what
    statement: Mapping[str, Any] = {}
    if (path := out / "tables" / STATEMENT).is_file():
        statement, files[STATEMENT] = read_json(path, what="the statement on standardisation"), sha256_file(path)
    elsewhere: dict[str, pd.DataFrame] = {}
    for name in experiment.design.external:
        if (path := out / "tables" / "external" / name / "metrics.parquet").is_file():
            elsewhere[name], files[f"external/{name}/{path.name}"] = read_table(path, "metrics"), sha256_file(path)
    return Artefacts(run, experiment, endpoints, tables, absent, files, statement, elsewhere, folder=out)


def patient_keys(tables: Mapping[str, pd.DataFrame]) -> set[str]:
    """All patient keys that the tables hold: what must not appear on the page."""
    return {str(key) for table in tables.values() if "patient_id" in table for key in table["patient_id"].unique()}


def without_keys(text: object, keys: Iterable[str]) -> str:
    """Free text of the run with any patient key in it blanked.

    >>> without_keys("P-017: mask is empty", {"P-017"})
    '[patient]: mask is empty'
    """
    words = clean(text)
    for key in sorted(keys, key=len, reverse=True):
        if len(key) > 2 and key in words:
            words = re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", "[patient]", words)
    return words
