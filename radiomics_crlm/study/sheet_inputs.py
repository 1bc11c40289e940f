"""What patient sheets are made of: bundle, scores and cohort, read together and checked against each other.

The scores are the truth. What the sheet adds from the chart (rules in words, values behind the explanation) is computed
again, and must give what the scores say: scores beside the chart of somebody else are worse than no sheet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiomics_crlm.clinical import evaluate_table
from radiomics_crlm.cohort.clinical import find_table
from radiomics_crlm.config import CohortNotes, load_config
from radiomics_crlm.errors import InputError
from radiomics_crlm.modelling.design import assemble, availability
from radiomics_crlm.modelling.frozen import FrozenModel
from radiomics_crlm.provenance.files import read_json, sha256_bytes, sha256_file
from radiomics_crlm.provenance.tables import read_raw, read_table
from radiomics_crlm.report.patient_sheet import Explained
from radiomics_crlm.report.rules_sheet import rule_part
from radiomics_crlm.report.wording import number
from radiomics_crlm.schema import is_later, load_schema, parse_table
from radiomics_crlm.scoring.bundle import Bundle, load_bundle

FIRST_ROW = 2
"""Number of the first data row, as a spreadsheet shows it below the header."""
TABLE, ATTRIBUTIONS, SUMMARY = "scores.parquet", "attributions.parquet", "summary.json"
_FEATURES = "features_patient.parquet"
_SAFE = re.compile(r"[^A-Za-z0-9_-]+")
_TOLERANCE = 1e-5
_NO_VALUES = "the features of the scans are not at hand, and the scores hold no attributions"
_OTHER_CHART = "the cohort gives other results than the scores; score it again"


@dataclass(frozen=True)
class Case:
    """One row of the scores with what its sheet needs, pictures apart.

    ``problem`` is a code and a reason if there can be no sheet. ``stem`` is the name of its files.
    """

    stem: str
    score: Mapping[str, Any]
    rules: Sequence[Mapping[str, Any]] | str = "not evaluated"
    explained: Explained | str = "not explained"
    problem: tuple[str, str] | None = None

    @property
    def patient(self) -> str | None:
        """Key; None where the row has none."""
        return self.score["patient_id"]


@dataclass(frozen=True)
class Chart:
    """Rows of the clinical table, typed; which of them can be read; and predictors, indexed by position, if at hand."""

    clinical: pd.DataFrame
    readable: np.ndarray
    predictors: pd.DataFrame


@dataclass(frozen=True)
class Said:
    """Attributions that came with the scores: their base value, and by row and input."""

    base: float
    rows: Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class Inputs:
    """What all sheets share, and the cases asked for.

    ``cohort`` holds the probabilities of all scored patients by month, ``shifted`` the inputs in which the cohort is
    unlike the training, ``unknown`` the keys that the scores do not have.
    """

    bundle: Bundle
    scores_sha256: str
    cohort: Mapping[int, tuple[float, ...]]
    shifted: tuple[str, ...]
    cases: tuple[Case, ...]
    unknown: tuple[str, ...]


def read_inputs(bundle_folder: Path, cohort: Path, scores: Path, patients: Sequence[str]) -> Inputs:
    """Read and check everything but images.

    Parameters
    ----------
    bundle_folder, cohort, scores
        Folder of the bundle, of the cohort, and of the scores that ``crlm score`` wrote.
    patients
        Keys of the patients wanted; empty: all.

    Raises
    ------
    InputError
        If a folder is unusable as a whole, the scores are of another bundle, or none of the patients is in them.
    """
    bundle = load_bundle(bundle_folder)
    table, summary = _read_scores(scores, bundle)
    chosen, unknown = _choose(table, patients)
    raw, notes = _chart(cohort)
    positions = chosen["row"].to_numpy(dtype=int) - FIRST_ROW
    there = positions < len(raw)
    scored = (chosen["status"] == "scored").to_numpy(dtype=bool)[there]
    rows = raw.iloc[positions[there]].reset_index(drop=True)
    found = _read_chart(bundle, rows, notes, scored, (cohort, scores / "features"))
    cases = _cases(bundle, chosen, np.flatnonzero(there).tolist(), found, notes, _attributions(scores, summary))
    shifted = tuple(str(name) for name in summary.get("shift", {}).get("shifted", ()))
    digest = sha256_file(scores / TABLE)
    return Inputs(bundle, digest, _distribution(table, bundle), shifted, tuple(cases), tuple(unknown))


def file_stem(patient: str | None, row: int, *, repeated: bool = False) -> str:
    """Name of the files of a patient: safe on every system, unique, and independent of who else is in the table.

    >>> file_stem("SIM-0003", 4)
    'SIM-0003-1ae87eedfa'
    >>> file_stem("../../etc/passwd", 2).startswith("etc-passwd-"), file_stem(None, 7)
    (True, 'row-7')
    """
    if patient is None:
        return f"row-{row}"
    words = _SAFE.sub("-", patient).strip("-_")[:40]
    mark = sha256_bytes(patient.encode("utf-8", "surrogatepass"))[:10]
    return "-".join(filter(None, (words, mark, f"row-{row}" if repeated else "")))


def _read_scores(folder: Path, bundle: Bundle) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """The scores, and the summary beside them (empty where an earlier version wrote none)."""
    if not folder.is_dir():
        raise InputError("the folder of scores is missing", expected=f"a folder with {TABLE}")
    table = read_table(folder / TABLE, "scores")
    if table.empty:
        raise InputError("the scores have no rows", where=TABLE)
    if (table["bundle_sha256"] != bundle.sha256).any():
        raise InputError(
            "the scores were made with another bundle", where=TABLE, remedy="name the bundle that made them"
        )
    if not (folder / SUMMARY).is_file():
        return table, {}
    summary = read_json(folder / SUMMARY, what="summary of the scores")
    if summary.get("files", {}).get(TABLE) != sha256_file(folder / TABLE):
        raise InputError(
            "the scores were changed since they were written", where=TABLE, remedy="score the cohort again"
        )
    return table, summary


def _choose(table: pd.DataFrame, patients: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Rows of the patients wanted, and the keys that the scores do not have."""
    if not patients:
        return table, []
    keys = table["patient_id"]
    unknown = [key for key in dict.fromkeys(patients) if not (keys == key).any()]
    chosen = table[keys.isin(list(patients))]
    if chosen.empty:
        raise InputError("the scores know none of the patients", where=TABLE, expected="keys of the column patient_id")
    return chosen, unknown


def _chart(cohort: Path) -> tuple[pd.DataFrame, CohortNotes]:
    if not cohort.is_dir():
        raise InputError("the cohort folder is missing", expected="a folder with clinical.csv")
    notes_path = cohort / "cohort.yaml"
    notes = load_config(CohortNotes, notes_path) if notes_path.is_file() else CohortNotes()
    return read_raw(find_table(cohort, "clinical"), what="clinical table"), notes


def _read_chart(
    bundle: Bundle, raw: pd.DataFrame, notes: CohortNotes, scored: np.ndarray, places: Sequence[Path]
) -> Chart:
    """Some rows of the chart as scoring reads them, and the predictors of those that were ``scored``.

    Features are taken from the first of ``places`` that has them.
    """
    parsed = parse_table(raw, load_schema("clinical"), ignore=notes.ignore_columns)
    keys = parsed.table["patient_id"]
    readable = np.array(keys.notna() & ~keys.duplicated(keep=False), dtype=bool)
    readable[[problem.row - FIRST_ROW for problem in parsed.problems]] = False
    content, features = bundle.content, None
    if content.needs_radiomics:
        found = next((place for place in places if (place / _FEATURES).is_file()), None)
        if found is None:
            return Chart(parsed.table, readable, pd.DataFrame())
        features = read_table(found / _FEATURES, "features_patient")
    positions = np.flatnonzero(scored & readable)
    rows = parsed.table.iloc[positions]
    if features is not None:
        features = features[features["patient_id"].isin(rows["patient_id"])]
    predictors = assemble(rows, features, content.inputs, content.sources, speaks_at=content.speaks_at)
    predictors.index = pd.Index(positions)
    return Chart(parsed.table, readable, predictors)


def _attributions(scores: Path, summary: Mapping[str, Any]) -> Said | None:
    """Attributions that came with the scores; None if there are none."""
    if not (scores / ATTRIBUTIONS).is_file():
        return None
    table = read_table(scores / ATTRIBUTIONS, "score_attributions")
    base = number(summary.get("base_value"))
    if base is None:
        raise InputError("the summary of the scores has no base value for the attributions", where=SUMMARY)
    by_row = {int(str(row)): part.set_index("feature")["attribution"] for row, part in table.groupby("row")}
    return Said(base, {row: {str(name): float(v) for name, v in part.items()} for row, part in by_row.items()})


def _distribution(table: pd.DataFrame, bundle: Bundle) -> dict[int, tuple[float, ...]]:
    """Probabilities of all scored patients, in ascending order: nobody's place in the table is kept."""
    scored = table[table["status"] == "scored"]
    names = {month: f"probability_{month}m" for month in bundle.content.horizons}
    return {m: tuple(sorted(scored[name].dropna().tolist())) for m, name in names.items() if name in scored}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Cells of a row as JSON values."""
    cells = {str(name): None if pd.isna(cell) else cell for name, cell in row.items()}
    return {name: cell.item() if isinstance(cell, np.generic) else cell for name, cell in cells.items()}


def _cases(
    bundle: Bundle,
    chosen: pd.DataFrame,
    there: Sequence[int],
    found: Chart,
    notes: CohortNotes,
    said: Said | None,
) -> list[Case]:
    """One case per row; ``there`` are the positions of those that the chart has, in the order of ``found``."""
    of_chart = {k: n for n, k in enumerate(there)}
    repeated = chosen["patient_id"].duplicated(keep=False).to_numpy()
    rules = _rules(bundle, found, notes)
    made = _contributions(bundle, found)
    cases = []
    for k, record in enumerate(chosen.to_dict("records")):
        score = _plain({str(name): cell for name, cell in record.items()})
        case = Case(file_stem(score["patient_id"], score["row"], repeated=bool(repeated[k])), score)
        n = of_chart.get(k)
        if n is None or _key(found, n) != score["patient_id"]:
            cases.append(Case(case.stem, score, problem=("other_chart", "the cohort has another patient in this row")))
            continue
        if score["status"] == "scored" and not found.readable[n]:
            cases.append(Case(case.stem, score, problem=("other_chart", _OTHER_CHART)))
            continue
        cases.append(_case(case, bundle, rules.get(n), made.get(n), said))
    return cases


def _key(found: Chart, n: int) -> str | None:
    key = found.clinical["patient_id"].iloc[n]
    return None if pd.isna(key) else str(key)


def _case(
    case: Case,
    bundle: Bundle,
    rules: list[dict[str, Any]] | None,
    made: tuple[dict[str, float], float, dict[str, float | None]] | None,
    said: Said | None,
) -> Case:
    """The case with rules and explanation, or with the problem that the chart contradicts the scores."""
    score = case.score
    numbers = {} if rules is None else {one["rule"]: one["number"] for one in rules}
    for rule in bundle.content.rules:
        if not _same(score.get(f"rule__{rule}__score"), numbers.get(rule)):
            return Case(case.stem, score, problem=("other_chart", f"rule {rule}: {_OTHER_CHART}"))
    shown: list[dict[str, Any]] | str = "the row of the chart cannot be read, see the reason above"
    if rules is not None:
        shown = [one["part"] for one in rules]
    explained = _explained(score, bundle.model, made, said)
    if isinstance(explained, tuple):
        return Case(case.stem, score, problem=explained)
    return Case(case.stem, score, shown, explained)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 1e-9 * max(1.0, abs(one))


def _rules(bundle: Bundle, found: Chart, notes: CohortNotes) -> dict[int, list[dict[str, Any]]]:
    """Results of the rules of the bundle by position of the row, from what is known when the model speaks."""
    positions = np.flatnonzero(found.readable)
    known: dict[int, list[dict[str, Any]]] = {int(n): [] for n in positions}
    if not positions.size or not bundle.content.rules:
        return known
    when = availability(load_schema("clinical"), notes.available_at)
    seen = [name for name in found.clinical.columns if not is_later(when[name], bundle.content.speaks_at)]
    table = found.clinical.iloc[positions][seen].reset_index(drop=True)
    place = dict(zip(table["patient_id"].astype("str"), positions.tolist(), strict=True))
    cells = {str(row["patient_id"]): _plain({str(c): v for c, v in row.items()}) for row in table.to_dict("records")}
    for row in evaluate_table(table, list(bundle.content.rules)).to_dict("records"):
        patient, rule = str(row["patient_id"]), str(row["rule"])
        inputs = {name: cell for name, cell in cells[patient].items() if cell is not None}
        points = number(row["value"] if pd.isna(row["score"]) else row["score"])
        known[place[patient]].append({"rule": rule, "number": points, "part": rule_part(rule, row, inputs)})
    return known


def _contributions(bundle: Bundle, found: Chart) -> dict[int, tuple[dict[str, float], float, dict[str, float | None]]]:
    """Attributions, base value and values of the learner inputs of each row that can be computed."""
    table = found.predictors
    if table.empty:
        return {}
    categories = [spec for spec in bundle.content.inputs if spec.kind == "category"]
    known = {spec.name: table[spec.name].where(table[spec.name].isin(spec.categories)) for spec in categories}
    usable = table.assign(**known)
    with np.errstate(all="ignore"):
        values, base = bundle.model.contributions(usable)
        shown = bundle.model.values(usable)
    made = {}
    for k, position in enumerate(usable.index):
        inputs = {name: None if np.isnan(v) else float(v) for name, v in shown.iloc[k].items()}
        attributed = {str(name): float(v) for name, v in values.iloc[k].items()}
        made[int(position)] = attributed, float(base[k]), {str(name): v for name, v in inputs.items()}
    return made


def _explained(
    score: Mapping[str, Any],
    model: FrozenModel,
    made: tuple[dict[str, float], float, dict[str, float | None]] | None,
    said: Said | None,
) -> Explained | str | tuple[str, str]:
    """The explanation: the one that came with the scores, or else computed; or why there is none; or a problem."""
    if score["status"] != "scored" or score["risk"] is None:
        return "the model abstains for this patient"
    total = float(score["risk"])
    if made is not None and not _adds_up(made[0].values(), made[1], total):
        return "other_chart", f"risk: {_OTHER_CHART}"
    inputs = None if made is None else made[2]
    told = None if said is None else said.rows.get(int(score["row"]))
    if said is not None and told is not None:
        if not _adds_up(told.values(), said.base, total):
            return "attributions", "the attributions beside the scores do not add up to the risk"
        return Explained(told, said.base, total, risk_unit(model), inputs)
    if made is None:
        return _NO_VALUES
    return Explained(made[0], made[1], total, risk_unit(model), inputs)


def _adds_up(values: Any, base: float, total: float) -> bool:
    return bool(abs(base + float(np.sum(list(values))) - total) <= _TOLERANCE * max(1.0, abs(total)))


def risk_unit(model: FrozenModel) -> str:
    """What the risk of a model is, in words."""
    if model.forest is not None:
        return "probability of the event"
    if model.horizon is not None:
        return f"log odds of the event within {model.horizon:g} months"
    return "minus the mean logarithm of the time" if model.log_time is not None else "logarithm of the relative hazard"
