"""The verdict per endpoint in words: the model, the scores on the same patients, and what radiomics adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.performance import calibration_sentence, find_comparison, metric_row, primary_metric
from radiomics_crlm.report.wording import METRIC_TITLES, MOMENTS, deciding_decimals, fixed, interval, listed, number

Part = dict[str, Any]

SUSPICIOUS = 0.75
"""A discrimination with its lower limit above this is far beyond published preoperative models (0.55 to 0.70)."""


def shown_model(artefacts: Artefacts, endpoint: str) -> str | None:
    """The model that the card speaks of: the delivered one, else the configured one, else the richest."""
    delivered = artefacts.part("delivered").get(endpoint) or {}
    chosen = delivered.get("model") or artefacts.experiment.deliver.get(endpoint)
    if chosen:
        return str(chosen)
    rows = artefacts.of_endpoint("metrics", endpoint)
    sets = artefacts.experiment.feature_sets
    fitted = [] if rows is None else [n for n in dict.fromkeys(rows["model"]) if artefacts.is_model(n)]
    names = [name for name in fitted if name.partition("/")[0] in sets]

    def breadth(name: str) -> int:
        body = sets[name.partition("/")[0]]
        return (body.radiomics is not None) + bool(body.columns)

    return max(names, key=breadth, default=None)


def clinical_counterpart(artefacts: Artefacts, model: str) -> str | None:
    """The model of the same learner without radiomics, if ``model`` has radiomics and clinical columns.

    Among several, the one with the same clinical columns is meant.
    """
    feature_set, _, learner = model.partition("/")
    sets = artefacts.experiment.feature_sets
    own = sets.get(feature_set)
    if own is None or own.radiomics is None or not own.columns:
        return None
    others = [name for name, body in sets.items() if body.radiomics is None]
    others.sort(key=lambda name: (sets[name].columns, sets[name].exclude) != (own.columns, own.exclude))
    return f"{others[0]}/{learner}" if others else None


def verdict(artefacts: Artefacts, endpoint: str, *, leaked: bool) -> Part:
    """Verdict of an endpoint; ``leaked`` says that a predictor from after the prediction time was let in."""
    config = artefacts.endpoints[endpoint]
    model = shown_model(artefacts, endpoint)
    part: Part = {
        "endpoint": endpoint,
        "title": config.title,
        "population": config.population_title,
        "speaks": MOMENTS[config.prediction_time],
        "model": model,
        "leaked": leaked,
        "claim": artefacts.experiment.performance_claim,
    }
    if model is None:
        return part | {"absent": f"no model: {artefacts.why_absent('metrics')}", "lines": []}
    metric = primary_metric(config)
    own = metric_row(artefacts, endpoint, model, metric)
    part |= {"model_title": artefacts.model_title(model), "metric": METRIC_TITLES[metric]}
    if own is None or own["estimate"] is None:
        reason = "it could not be computed" if own else artefacts.why_absent("metrics")
        return part | {"absent": f"{METRIC_TITLES[metric]} of the model: {reason}", "lines": []}
    part |= {"n": own["n"], "events": own["events"]}
    comparators = (*artefacts.experiment.comparators, *artefacts.experiment.reported_scores)
    lines = [_against_score(artefacts, endpoint, model, own, score) for score in comparators]
    # The model's own figure opens the first line; the other comparators need not repeat it.
    opening = f"{artefacts.model_title(model)}: {METRIC_TITLES[metric]} {_limits(own)}."
    if lines:
        lines[0]["numbers"] = f"{opening} {lines[0]['numbers']}".strip()
    else:
        lines.append({"kind": "model", "tone": "plain", "numbers": opening, "conclusion": ""})
    lines.append(_radiomics_line(artefacts, endpoint, model))
    lines += _warnings(artefacts, own, metric)
    if sentence := calibration_sentence(metric_row(artefacts, endpoint, model, "observed_expected")):
        numbers, _, conclusion = sentence.partition(": ")
        lines.append({"kind": "calibration", "tone": "plain", "numbers": numbers + ":", "conclusion": conclusion})
    if leaked:
        for line in lines:
            line |= {"tone": "void"} | ({"conclusion": "not valid, because of the leak."} if line["numbers"] else {})
    said: dict[str, bool] = {"leaked": leaked, "claim": part["claim"]}
    part |= {"headline": _headline(lines, **said), "tone": _box_tone(lines, **said)}
    return part | {"lines": [line | {"text": f"{line['numbers']} {line['conclusion']}".strip()} for line in lines]}


_SCORES = {
    "worse": "the model ranks patients worse than the {}",
    "none": "no evidence that the model is better than the {}",
    "better": "the model ranks patients better than the {}",
    "absent": "no comparison with the {}",
}
_RADIOMICS = {
    "better": "radiomics helps",
    "worse": "radiomics harms",
    "none": "no evidence that radiomics helps",
    "absent": "what radiomics adds is not known",
    "plain": "the model uses no radiomics",
}


def _headline(lines: list[Part], *, leaked: bool, claim: bool) -> str:
    """One sentence for the top of the box: every score, the sobering ones first, then radiomics."""
    if leaked:
        return "Not valid: the model was given what is known only later."
    scores = [line for line in lines if line["kind"] == "score"]
    parts = []
    for tone, sentence in _SCORES.items():
        titles = [line["reference_title"].partition(",")[0] for line in scores if line["tone"] == tone]
        if titles:
            parts.append(sentence.format(listed(titles, "or" if tone == "none" else "and")))
    parts.append(_RADIOMICS[next(line["tone"] for line in lines if line["kind"] == "radiomics")])
    text = "; ".join(parts)
    return ("" if claim else "No performance claim. ") + text[0].upper() + text[1:] + "."


def _box_tone(lines: list[Part], *, leaked: bool, claim: bool) -> str:
    """Tone of the whole box: good only if the model is better than every score."""
    tones = {line["tone"] for line in lines if line["kind"] == "score"}
    if leaked:
        return "void"
    if "worse" in tones:
        return "worse"
    return "better" if claim and tones == {"better"} else "none"


def _against_score(artefacts: Artefacts, endpoint: str, model: str, own: Part, score: str) -> Part:
    title, metric = artefacts.model_title(score), primary_metric(artefacts.endpoints[endpoint])
    line: Part = {"kind": "score", "reference": score, "reference_title": title}
    found = find_comparison(artefacts, endpoint, model, score)
    other = metric_row(artefacts, endpoint, score, metric)
    if found is None or found["difference"] is None:
        reason = "it could not be computed" if found else _why_not_compared(artefacts, endpoint, score)
        return line | {"tone": "absent", "numbers": "", "conclusion": f"No comparison with {title}: {reason}."}
    text = f"Against {title}."
    if other is not None and other["estimate"] is not None:
        text = _score_sentence(title, own, other, found)
    tone, conclusion = _judge(found, "that the model is better", "that the model is worse")
    difference = _limits(found, "difference", signed=True)
    numbers = f"{text} Difference {difference}:"
    return line | {"tone": tone, "numbers": numbers, "conclusion": conclusion}


def _score_sentence(title: str, own: Part, other: Part, found: Part) -> str:
    """The score on the patients of the comparison; where they are fewer, the model on these patients too.

    A score is compared on all patients in whom it can be assessed, so the model's figure there is the score's plus the
    difference.
    """
    if found["n"] == own["n"] == other["n"]:
        return f"{title} on the same patients: {_limits(other)}."
    if found["n"] != other["n"]:
        return f"{title}: {_limits(other)} in {other['n']} patients. Both assess {found['n']} patients."
    where = f"In the {found['n']} of {own['n']} patients in whom the score can be assessed"
    return f"{where}: model {fixed(other['estimate'] + found['difference'])}, {title} {_limits(other)}."


def _why_not_compared(artefacts: Artefacts, endpoint: str, score: str) -> str:
    recorded = artefacts.part("rule_scores").get(endpoint, {}).get(score, {})
    if "comparisons" in artefacts.tables and recorded.get("n_assessable") == 0:
        return "it can be assessed in no patient of this cohort"
    return artefacts.why_absent("comparisons")


def _radiomics_line(artefacts: Artefacts, endpoint: str, model: str) -> Part:
    line: Part = {"kind": "radiomics", "tone": "absent", "numbers": ""}
    reference = clinical_counterpart(artefacts, model)
    if reference is None:
        own = artefacts.experiment.feature_sets.get(model.partition("/")[0])
        if own is not None and own.radiomics is None:
            return line | {"tone": "plain", "conclusion": "This model uses no radiomics."}
        return line | {
            "conclusion": "What radiomics adds is not available: the experiment has no clinical model beside this one."
        }
    line |= {"reference": reference, "reference_title": artefacts.model_title(reference)}
    found = find_comparison(artefacts, endpoint, model, reference, refitted=True)
    if found is None or found["difference"] is None:
        reason = "the comparison could not be computed" if found else artefacts.why_absent("comparisons")
        return line | {"conclusion": f"What radiomics adds is not available: {reason}."}
    tone, conclusion = _judge(found, "that it helps here", "that it harms here")
    numbers = f"Radiomics adds {_limits(found, 'difference')} to {line['reference_title']}:"
    return line | {"tone": tone, "numbers": numbers, "conclusion": conclusion}


def _judge(found: Part, better: str, worse: str) -> tuple[str, str]:
    """Tone and conclusion of a difference: only an interval that excludes 0 is evidence."""
    lower, upper = found["lower"], found["upper"]
    if lower is None or upper is None:
        return "absent", "there is no interval, so nothing can be concluded."
    if lower > 0:
        return "better", f"evidence {better}."
    if upper < 0:
        return "worse", f"evidence {worse}."
    return "none", f"no evidence {better}."


def _limits(row: Part, key: str = "estimate", *, signed: bool = False) -> str:
    decimals = deciding_decimals((row["lower"], row["upper"])) if key == "difference" else 2
    return interval(row[key], row["lower"], row["upper"], decimals, signed=signed)


def _warnings(artefacts: Artefacts, own: Part, metric: str) -> list[Part]:
    lower, upper, name = own["lower"], own["upper"], METRIC_TITLES[metric]
    if lower is None or upper is None:
        return []
    if lower <= 0.5:
        text = f"The interval of the model's {name} reaches 0.5 or below:"
        return [{"kind": "chance", "tone": "none", "numbers": text, "conclusion": "no evidence that it beats chance."}]
    if lower > SUSPICIOUS and not artefacts.part("cohort").get("simulated"):
        text = f"{name} is far above what published preoperative models reach (0.55 to 0.70):"
        conclusion = "look for a leak before believing it."
        return [{"kind": "suspicious", "tone": "worse", "numbers": text, "conclusion": conclusion}]
    return []


_ANSWERS = {
    "combined": ("Radiomics adds {} to the {} of the clinical model", "that it helps here", "that it harms"),
    "radiomics": ("The {metric} of radiomics alone differs by {} from that of the clinical model",
                  "that it is better here", "that it is worse"),
    "clinical": ("The {metric} of the clinical model differs by {} from that of the rules",
                 "that it is better here", "that it is worse"),
}  # fmt: skip
_ALARMS = {
    "negative_control": "Caution: radiomics of other patients add {} as well: what is added is not about the patient.",
    "permuted_outcome": "Caution: models of permuted outcomes are {} better than chance: look for a leak.",
}


def answer_sentence(rows: Iterable[Mapping[str, Any]], *, of_radiomics: bool = True) -> str:
    """The question of an experiment, answered in words for one endpoint.

    Parameters
    ----------
    rows
        Rows of the table ``answers`` of one endpoint.
    of_radiomics
        Whether the experiment asks what radiomics adds; if not, nothing is said of that.

    Examples
    --------
    >>> clinical = {"arm": "clinical", "model": "clinical/ridge", "verdict": "adds"}
    >>> added = {"arm": "combined", "metric": "c_index_folds", "reference": "clinical/ridge", "difference": 0.01,
    ...          "difference_lower": 0.002, "difference_upper": 0.018, "verdict": "adds"}
    >>> answer_sentence([clinical, added])
    'Radiomics adds 0.010 (95 % interval 0.002 to 0.018) to the C of the clinical model: evidence that it helps here.'
    """
    arms = {str(row["arm"]): row for row in rows}
    combined, clinical = arms.get("combined", {}), arms.get("clinical", {})
    parts = []
    if _is_against_clinical(combined, clinical):
        parts.append(_answer("combined", combined))
    else:
        lacking = combined if combined.get("verdict", "absent") == "absent" else clinical
        parts += [f"What radiomics adds is not known: {_reason(lacking)}."] if of_radiomics else []
        other = "radiomics" if _is_against_clinical(arms.get("radiomics", {}), clinical) else "clinical"
        parts += [_answer(other, arms[other])] if _is_set_against_a_model(arms.get(other, {})) else []
    for arm, text in _ALARMS.items():
        row = arms.get(arm, {})
        if row.get("verdict") == "adds" and (row["reference"] == "chance" or _is_against_clinical(row, clinical)):
            parts.append(text.format(_gain(row)))
    return " ".join(parts)


def _is_against_clinical(row: Mapping[str, Any], clinical: Mapping[str, Any]) -> bool:
    known = row.get("verdict", "absent") != "absent" and clinical.get("verdict", "absent") != "absent"
    return known and row.get("reference") == clinical.get("model")


def _is_set_against_a_model(row: Mapping[str, Any]) -> bool:
    return row.get("verdict", "absent") != "absent" and row.get("reference") != "chance"


def _answer(arm: str, row: Mapping[str, Any]) -> str:
    """What an arm adds to its reference, and whether that is evidence."""
    sentence, better, worse = _ANSWERS[arm]
    if row["verdict"] == "not_estimable":
        what = "the clinical model" if arm == "clinical" else "radiomics"
        return f"Whether {what} helps cannot be estimated: {_reason(row)}."
    metric = METRIC_TITLES[str(row["metric"]).removesuffix("_folds")]
    conclusion = {
        "adds": f"evidence {better}",
        "no_evidence": f"no evidence {better}",
        "worse": f"no evidence {better}, but evidence {worse}",
    }
    said = sentence.format(_gain(row), metric, metric=metric)
    return f"{said}: {conclusion[row['verdict']]}."


def _reason(row: Mapping[str, Any]) -> str:
    said = row.get("reason")
    return said if isinstance(said, str) and said else "there is no such model"


def _gain(row: Mapping[str, Any]) -> str:
    """A difference with its interval, with as many decimals as show on which side of 0 the limits are."""
    value, lower, upper = (number(row[f"difference{end}"]) for end in ("", "_lower", "_upper"))
    decimals = deciding_decimals((lower, upper), 3)
    return f"{fixed(value, decimals)} (95 % interval {fixed(lower, decimals)} to {fixed(upper, decimals)})"
