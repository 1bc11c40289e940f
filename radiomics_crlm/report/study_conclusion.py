"""What the conclusion of a report says beside the verdict: models on other inputs, how many beat a score, whether the
controls behaved, and whether the cohort is large enough.

Sentences are computed from the tables; they say what was found, and where nothing was found they say that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.study_tables import title_of
from radiomics_crlm.report.wording import deciding_decimals, interval, number

Part = Mapping[str, Any]

_SIGNIFICANT = 0.05
_CONTROLS = {
    "negative_control": (
        "Control, radiomics of other patients in place of the patient's own: difference to {reference} {difference}",
        {"no_evidence": "nothing is found in them, as it should be", "worse": "they harm, and are no help"},
    ),
    "permuted_outcome": (
        "Control, outcomes exchanged between patients: difference to {reference} {difference}",
        {"no_evidence": "no better than chance, as it should be", "worse": "no better than chance"},
    ),
}


def further(artefacts: Artefacts, endpoint: str, shown: str | None, differences: Part) -> list[str]:
    """Sentences of one endpoint that stand below its verdict.

    Parameters
    ----------
    artefacts
        Saved artefacts of the run.
    endpoint
        Name of the endpoint.
    shown
        The model that the report speaks of.
    differences
        ``study_tables.differences`` of the endpoint.
    """
    said = _other_sets(artefacts, differences, shown)
    if artefacts.experiment.performance_claim:
        said += [*_counted(differences), *_controls(artefacts, endpoint)]
    return said + _sample_size(artefacts, endpoint, shown)


def _other_sets(artefacts: Artefacts, differences: Part, shown: str | None) -> list[str]:
    """The model against those of the same learner on other inputs of its kind: clinical columns, or scans as well."""
    sets, said = artefacts.experiment.feature_sets, []
    for row in differences.get("rows", []):
        pair = [row["model"], row["reference"]]
        names = [name.partition("/")[0] for name in pair]
        if shown not in pair or row["against_score"] or not sets.keys() >= set(names):
            continue
        if len({bool(sets[name].radiomics) for name in names}) == 1:
            words = f"{row['model_title']} minus {row['reference_title']}: {row['text']}, "
            said.append(words + _apart(row, differences["computed"]))
    return said


def _apart(row: Part, computed: int) -> str:
    """Whether two models differ, and whether that outlives the correction for all comparisons that were made."""
    corrected = f"p {row['p_holm']} after correction"
    if row["lower"] is None or not (row["lower"] > 0 or row["upper"] < 0):
        return f"no evidence of a difference ({corrected})."
    if row["holm"] is not None and row["holm"] < _SIGNIFICANT:
        return f"evidence of a difference ({corrected})."
    return f"an interval without 0, but no evidence once all {computed} comparisons are counted ({corrected})."


def _counted(differences: Part) -> list[str]:
    """For each score, how many of the models beat it: all of them, not only the one that is shown."""
    said = []
    rows = [row for row in differences.get("rows", []) if row["against_score"] and row["lower"] is not None]
    for reference in dict.fromkeys(row["reference_title"] for row in rows):
        own = [row for row in rows if row["reference_title"] == reference]
        better = [row for row in own if row["lower"] > 0]
        holm = [row for row in better if row["holm"] is not None and row["holm"] < _SIGNIFICANT]
        worse = sum(row["upper"] < 0 for row in own)
        text = f"{len(better)} of {len(own)} models rank patients better than {reference} with an interval above 0"
        if better:
            text += f", {len(holm)} after correction for the {differences['computed']} comparisons made (Holm)"
        said.append(text + (f"; {worse} with an interval below 0." if worse else "."))
    return said


def _controls(artefacts: Artefacts, endpoint: str) -> list[str]:
    """Controls that behaved; those that did not are an alarm of the answer."""
    table = artefacts.of_endpoint("answers", endpoint)
    said = []
    for row in [] if table is None else table.to_dict("records"):
        sentence, conclusions = _CONTROLS.get(row["arm"], ("", {}))
        if row["verdict"] in conclusions:
            limits = number(row["difference_lower"]), number(row["difference_upper"])
            difference = interval(row["difference"], *limits, deciding_decimals(limits, 3), signed=True)
            reference = row["reference"] if row["reference"] == "chance" else title_of(artefacts, row["reference"])
            words = sentence.format(reference=reference, difference=difference)
            said.append(f"{words}: {conclusions[row['verdict']]}.")
    return said


def _sample_size(artefacts: Artefacts, endpoint: str, shown: str | None) -> list[str]:
    """Whether there are enough patients for the model, by the criteria of Riley et al. (doi:10.1002/sim.7992)."""
    table = artefacts.of_endpoint("sample_size", endpoint)
    if table is None or shown is None:
        return []
    row = next((r for r in table.to_dict("records") if r["feature_set"] == shown.partition("/")[0]), None)
    if row is None:
        return []
    asked = f"{int(row['n_required'])} are asked for with {int(row['parameters'])} candidate inputs"
    if row["sufficient"]:
        return [f"{int(row['n'])} patients are enough: {asked} (criteria of Riley et al.)."]
    return [f"{int(row['n'])} patients are too few: {asked} (criteria of Riley et al.). A new cohort may differ much."]
