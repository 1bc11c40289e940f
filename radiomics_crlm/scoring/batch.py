"""Batch scoring: every row that comes in goes out, scored or abstained with a reason.

Rows are computed one by one in effect: a patient's numbers do not depend on who else is in the table, nor on where a
killed run was resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import radiomics_crlm
from radiomics_crlm.clinical import evaluate_table
from radiomics_crlm.config import CohortNotes
from radiomics_crlm.modelling.design import InputSpec
from radiomics_crlm.provenance.files import canonical_json, sha256_bytes, write_bytes
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.scoring.admission import FIRST_ROW, Admission, Imaging, admit, known_columns
from radiomics_crlm.scoring.bundle import Bundle, computable, spoken_horizons
from radiomics_crlm.scoring.flags import row_flags
from radiomics_crlm.scoring.journal import Journal, Record

JOURNAL, TABLE, SPREADSHEET = "scores.jsonl", "scores.parquet", "scores.csv"
_BLOCK = 256
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class ScoreSummary:
    """Account of a batch: ``rows`` in = ``scored`` + ``abstained``.

    ``abstentions`` counts rows by reason code and ``flags`` by flag; ``resumed`` rows were taken over from an
    interrupted run; ``absent_inputs`` are clinical inputs that the table does not have at all.
    """

    rows: int
    scored: int
    abstained: int
    abstentions: Mapping[str, int]
    flags: Mapping[str, int]
    resumed: int
    absent_inputs: tuple[str, ...]
    bundle_sha256: str
    input_sha256: str


def score_cohort(
    bundle: Bundle,
    clinical_raw: pd.DataFrame,
    features_patient: pd.DataFrame | None,
    out: Path,
    *,
    notes: CohortNotes | None = None,
    features_lesion: pd.DataFrame | None = None,
    exclusions: pd.DataFrame | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScoreSummary:
    """Score every row of a clinical table.

    Parameters
    ----------
    bundle
        The model.
    clinical_raw
        Raw clinical table (:func:`radiomics_crlm.provenance.tables.read_raw`); each bad row becomes an abstention.
    features_patient, features_lesion
        Radiomics of the cohort, for bundles that need them; ``features_lesion`` says how they were extracted.
    out
        Folder for ``scores.jsonl`` (journal), ``scores.parquet`` and ``scores.csv``. A run that was killed
        resumes there.
    notes
        ``cohort.yaml`` of the cohort.
    exclusions
        Scans that yielded nothing, to name them in the reason.
    on_progress
        Called with (rows done, rows in all).

    Returns
    -------
    The account. The same bundle and tables give the same bytes, whether interrupted or not.

    Raises
    ------
    InputError
        For faults of a whole table, or an output folder that holds other scores.
    LeakError
        If the cohort knows an input only after the model speaks.
    """
    content, chosen_notes = bundle.content, notes or CohortNotes()
    imaging = Imaging(features_patient, features_lesion, exclusions)
    admission = admit(content, clinical_raw, imaging, chosen_notes)
    rules = _rule_columns(admission, content.rules, chosen_notes, content.speaks_at)
    digest = _input_digest(clinical_raw, imaging, chosen_notes)
    total = len(clinical_raw)
    header = {
        "program": radiomics_crlm.__version__,
        "bundle_sha256": bundle.sha256,
        "input_sha256": digest,
        "rows": total,
    }
    with Journal(out / JOURNAL, header, first=FIRST_ROW, rows=total) as journal:
        resumed = len(journal.records)
        for start in range(resumed, total, _BLOCK):
            for record in _block(bundle, admission, rules, range(start, min(start + _BLOCK, total))):
                journal.append(record)
                if on_progress is not None:
                    on_progress(len(journal.records), total)
        records = journal.records
    _write(records, _columns(bundle), out)
    return _summary(records, resumed, bundle, admission.clinical.columns, digest)


def _block(bundle: Bundle, admission: Admission, rules: Mapping[str, list[object]], positions: range) -> list[Record]:
    """Records of neighbouring rows."""
    content = bundle.content
    table = admission.predictors.loc[[i for i in positions if admission.codes[i] is None]]
    flags = dict(zip(table.index, row_flags(table, content.inputs, content.training), strict=True))
    usable = _known_categories(table, content.inputs)
    spoken = spoken_horizons(content, bundle.model)
    with np.errstate(all="ignore"):
        usable = usable[computable(bundle.model, usable)]
        risk = dict(zip(usable.index, bundle.model.risk(usable).tolist(), strict=True))
        probability = dict(zip(usable.index, bundle.model.probability(usable, spoken).tolist(), strict=True))
    records = []
    for i in positions:
        code, reason = admission.codes[i], admission.reasons[i]
        if code is None and not (i in risk and np.isfinite([risk[i], *probability[i]]).all()):
            code, reason = "no_result", "the model gives no finite number for these inputs"
        key = admission.clinical["patient_id"].iloc[i]
        record: Record = dict.fromkeys(_columns(bundle))
        record |= {
            "row": i + FIRST_ROW,
            "patient_id": None if pd.isna(key) else str(key),
            "endpoint": content.endpoint,
            "model": content.model,
            "status": "scored" if code is None else "abstained",
            "code": code,
            "reason": reason,
            "bundle_sha256": bundle.sha256,
        }
        if i in flags:
            scan = [f"scan:{word}" for word in admission.scan_flags.get(str(key), "").split(";") if word]
            record["flags"] = ";".join((*flags[i], *scan)) or None
        if code is None:
            record |= {"risk": risk[i]} | dict(zip(map(_probability, spoken), probability[i], strict=True))
        records.append(record | {name: cells[i] for name, cells in rules.items()})
    return records


def _probabilities(bundle: Bundle) -> list[str]:
    return [_probability(month) for month in bundle.content.horizons]


def _probability(month: int) -> str:
    return f"probability_{month}m"


def _columns(bundle: Bundle) -> list[str]:
    """Columns of the output, in order."""
    rules = [name for rule in bundle.content.rules for name in (f"rule__{rule}", f"rule__{rule}__score")]
    front = ["row", "patient_id", "endpoint", "model", "status", "code", "reason", "flags", "risk"]
    return [*front, *_probabilities(bundle), *rules, "bundle_sha256"]


def _known_categories(table: pd.DataFrame, inputs: Sequence[InputSpec]) -> pd.DataFrame:
    """A category that the model has no number for is unknown to it."""
    known = {s.name: table[s.name].where(table[s.name].isin(s.categories)) for s in inputs if s.kind == "category"}
    return table.assign(**known)


def _rule_columns(
    admission: Admission, rules: Sequence[str], notes: CohortNotes, speaks_at: str
) -> dict[str, list[object]]:
    """Text and number of each rule for every row; rows that cannot be read have neither."""
    rows = len(admission.clinical)
    columns: dict[str, list[object]] = {}
    for rule in rules:
        columns[f"rule__{rule}"], columns[f"rule__{rule}__score"] = [None] * rows, [None] * rows
    if not rules or not admission.readable.any():
        return columns
    positions = np.flatnonzero(admission.readable)
    table = known_columns(admission.clinical.iloc[positions], notes, speaks_at).reset_index(drop=True)
    position_of = dict(zip(table["patient_id"].astype("str"), positions.tolist(), strict=True))
    for row in evaluate_table(table, rules).to_dict("records"):
        result = {str(name): cell for name, cell in row.items()}
        position, rule = position_of[result["patient_id"]], result["rule"]
        columns[f"rule__{rule}"][position] = rule_text(result)
        number = result["value"] if pd.isna(result["score"]) else result["score"]
        columns[f"rule__{rule}__score"][position] = None if pd.isna(number) else float(number)
    return columns


def rule_text(result: Mapping[str, Any]) -> str:
    """One rule result in words.

    >>> row = dict.fromkeys(["score", "value", "group", "group_certain", "missing", "reason", "lower", "upper"])
    >>> rule_text(row | {"status": "ok", "score": 2.0, "group": "low"})
    'score 2, group low'
    >>> rule_text(row | {"status": "not_assessable", "lower": 1.0, "upper": 4.0, "missing": "dfi_months"})
    'not assessable: bounds 1-4, missing dfi_months'
    """
    known = {name: value for name, value in result.items() if not pd.isna(value)}
    status = str(known["status"])
    parts = [f"{name} {known[name]:g}" for name in ("score", "value") if name in known]
    if "lower" in known:
        parts.append(
            f"bounds {known['lower']:g}-{known['upper']:g}" if "upper" in known else f"at least {known['lower']:g}"
        )
    parts += [
        f"{label} {known[name]}"
        for label, name in _RULE_WORDS
        if name in known and (name != "missing" or status != "ok")
    ]
    text = ", ".join(parts).replace(";", ", ")
    return text if status == "ok" else f"{status.replace('_', ' ')}{': ' if text else ''}{text}"


_RULE_WORDS = (("group", "group"), ("certainly group", "group_certain"), ("missing", "missing"), ("reason", "reason"))


def _input_digest(clinical_raw: pd.DataFrame, imaging: Imaging, notes: CohortNotes) -> str:
    tables = (clinical_raw, imaging.features_patient, imaging.features_lesion, imaging.exclusions)
    parts = ["" if table is None else sha256_bytes(table.to_csv(index=False).encode("utf-8")) for table in tables]
    return sha256_bytes(canonical_json([*parts, notes.model_dump(mode="json")]).encode("utf-8"))


def _write(records: Sequence[Record], columns: Sequence[str], out: Path) -> None:
    numbers = {c for c in columns if c == "risk" or c.startswith("probability_") or c.endswith("__score")}
    cells = {
        name: pd.Series([record[name] for record in records], dtype="float64" if name in numbers else "object")
        for name in columns
    }
    checked = write_table(pd.DataFrame(cells, columns=list(columns)), out / TABLE, "scores")
    texts = [name for name in columns if name not in numbers and name != "row"]
    safe = checked.assign(**{name: checked[name].map(_harmless, na_action="ignore") for name in texts})
    write_bytes(out / SPREADSHEET, safe.to_csv(index=False, lineterminator="\n").encode("utf-8"))


def _harmless(cell: str) -> str:
    """A text that no spreadsheet takes for a formula.

    >>> _harmless("=1+1"), _harmless("P-1")
    ("'=1+1", 'P-1')
    """
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _summary(records: Sequence[Record], resumed: int, bundle: Bundle, columns: pd.Index, digest: str) -> ScoreSummary:
    codes = Counter(record["code"] for record in records if record["code"])
    flags = Counter(flag.split(":")[0] for record in records for flag in (record["flags"] or "").split(";") if flag)
    absent = [s.name for s in bundle.content.inputs if s.source == "clinical" and s.name not in columns]
    abstained = sum(codes.values())
    return ScoreSummary(
        rows=len(records),
        scored=len(records) - abstained,
        abstained=abstained,
        abstentions=dict(sorted(codes.items())),
        flags=dict(sorted(flags.items())),
        resumed=resumed,
        absent_inputs=tuple(absent),
        bundle_sha256=bundle.sha256,
        input_sha256=digest,
    )
