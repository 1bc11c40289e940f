"""The experiment report as Markdown: pure, the same content gives the same bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from radiomics_crlm.report.markdown import bullets, code, folded, image, page, table, words
from radiomics_crlm.report.wording import METRIC_TITLES, NO_VALUE, listed

Part = Mapping[str, Any]

_NO_CLAIM = "**This experiment makes no claim about performance.** The cautions below say why."
_SIMULATED = "**Simulated data: these patients do not exist.** The numbers show that the program works, nothing else."


def render(content: Part, drawn: Collection[str], notes: str = "") -> str:
    """The page.

    Parameters
    ----------
    content
        Made by ``study_page.build_report``.
    drawn
        Names of the figures that exist.
    notes
        Hand-written Markdown that stands before the sections about design.
    """
    return page(
        [
            f"# {words(content['title'])}",
            f"Experiment {code(content['name'])}. Made by `crlm report` from a finished run; all intervals are 95 %.",
            *_warnings(content),
            f"## Question\n\n{words(content['question'])}",
            _conclusion(content),
            notes,
            *_participants(content),
            *_design(content),
            *_samples(content),
            *(text for part in content["endpoints"] for text in _endpoint(part, drawn)),
            *_acceptance(content),
            "## Cautions\n\n" + bullets([words(text) for text in [*content["cautions"], *_GENERAL]]),
            *_reproduce(content),
        ]
    )


_BESIDE = (
    "`metrics.json` holds the main numbers in full precision, `estimates.json` all, `plots/` the curves. Hashes of the "
    "tables and versions of the program and its libraries are in `run.json` of the run, so that this page changes only "
    "when a result does."
)
_GENERAL = (
    "Intervals resample patients and hold the models fixed; those of the means of folds allow for refitted models.",
    "No evidence of a difference is not evidence of no difference: read the interval.",
    "SHAP values describe what a model does, not what causes the outcome.",
)


def _warnings(content: Part) -> list[str]:
    said = []
    if content["leaked"]:
        columns = listed(content["leaked"])
        said.append(
            f"**LEAK: columns known only after the prediction were let in ({words(columns)}). Nothing here is valid.**"
        )
    if not content["claim"]:
        said.append(_NO_CLAIM)
    if content["cohort"]["simulated"]:
        said.append(_SIMULATED)
    return said


def _conclusion(content: Part) -> str:
    parts = ["## Conclusion"]
    for part in content["endpoints"]:
        items = [words(text) for text in (*part["lines"], *part["further"])]
        if part["answers"] and part["answers"].get("sentence"):
            items.insert(0, f"**{words(part['answers']['sentence'])}**")
        parts.append(f"**{words(part['title'])}.** {words(part['headline'])}\n\n{bullets(items)}")
    return "\n\n".join(part.rstrip() for part in parts)


def _participants(content: Part) -> list[str]:
    flow, cohort = content["flow"], content["cohort"]
    head = f"Cohort: {words(cohort['name'] or 'not named')}." + (
        f" {words(cohort['citation'])}" if cohort["citation"] else ""
    )
    if "absent" in flow:
        return [f"## Participants\n\n{head} {words(flow['absent'])}"]
    stages = [("the cohort", flow["cohort"], "")] + [(s["title"], s, s["population"]) for s in flow["endpoints"]]
    rows, reasons = [], []
    for title, stage, population in stages:
        if "absent" in stage:
            continue
        counts = [stage.get(key, NO_VALUE) for key in ("events", "competing", "censored")]
        rows.append([words(title), words(population), stage["in"], stage["excluded_total"], stage["out"], *counts])
        reasons += [f"{words(title)}: {words(e['reason'])} ({e['n']})" for e in stage["excluded"]]
    columns = ["", "Population", "In", "Left out", "Studied", "Events", "Competing", "Censored"]
    body = table(columns, rows, right=range(2, 8))
    censored = "For endpoints with a horizon, events and censoring are counted by that horizon."
    defined = bullets(
        f"**{words(o['title'])}**: {words(o['definition'])} Predicted {words(o['prediction_time'])}; index date: "
        f"{words(o['index_date'])}. Competing event: {words(o['competing'])}"
        for o in content["outcomes"]
    )
    parts = [f"## Participants and outcomes\n\n{head}", body, censored]
    if reasons:
        parts.append("Left out:\n\n" + bullets(reasons))
    return [*parts, folded("Definitions of the outcomes", defined)]


def _design(content: Part) -> list[str]:
    design = content["design"]
    folds = f"{design['repeats']} x {design['outer_folds']}-fold nested cross-validation by patient"
    kinds = {
        "repeated_cv": f"{folds}; folds are drawn once and shared by all endpoints, models and scores",
        "leave_one_centre_out": f"each centre ({design['column']}) tested by models of the others",
        "temporal": f"blocks of time ({design['column']}), each tested by models of the earlier ones",
    }
    learners = listed(
        [f"{entry['title']}" + (f" ({entry['candidates']} candidates)" if entry["candidates"] else "")
         for entry in design["learners"]]
    )  # fmt: skip
    rows = [
        ["Validation", words(kinds[design["kind"]])],
        ["Learners", words(learners)],
        [
            "Search of settings",
            words(f"{design['search']}, {design['inner_folds']} inner folds in every outer training fold"),
        ],
        ["Feature sets", words("; ".join(entry["title"] for entry in design["feature_sets"]))],
        ["Scores on the same folds", words("; ".join(entry["title"] for entry in design["rules"]) or "none")],
        ["Scores that cannot be assessed", words(str(design["rule_policy"]).replace("_", " "))],
        ["Seed", code(design["seed"])],
        ["Bootstrap samples and permutations", design["bootstrap_draws"]],
    ]
    if design["with_radiomics"]:
        rows.insert(3, ["Selection inside the fold", words(design["selection"])])
    return ["## Design", table(["", ""], rows)]


def _samples(content: Part) -> list[str]:
    if not content["samples"]:
        return []
    rows = [
        [words(r["endpoint"]), words(r["feature_set"]), r["n"], r["events"], r["parameters"], r["events_per_parameter"],
         r["n_required"], r["shrinkage"], r["sufficient"]]
        for r in content["samples"]
    ]  # fmt: skip
    head = ["Endpoint", "Feature set", "Patients", "Events", "Inputs", "Events per input", "Patients needed",
            "Expected shrinkage", "Enough?"]  # fmt: skip
    note = "Made before any fit. Needed: the largest of the criteria of Riley et al. (doi:10.1002/sim.7992)."
    return ["## Sample size", note, table(head, rows, right=range(2, 8))]


def _endpoint(part: Part, drawn: Collection[str]) -> list[str]:
    name, title = part["endpoint"], part["title"]

    def figure(kind: str, text: str) -> str:
        return image(f"{text}: {title}", f"figures/{name}_{kind}.svg") if f"{name}_{kind}" in drawn else ""

    texts = [f"## {words(title)}", *_answers(part["answers"])]
    texts += [figure("forest", f"{METRIC_TITLES[part['metric']]} of all models and scores with intervals")]
    texts += [_performance(part["performance"]), *_differences(part["differences"])]
    texts += _calibration(part["calibration"])
    texts += [figure("calibration", "Calibration curves with intervals"), figure("decision", "Decision curves")]
    return texts + _shap(part, figure("importance", "Strongest inputs"))


def _answers(answers: Part | None) -> list[str]:
    if answers is None:
        return []
    rows = [
        [words(a["arm"]), words(a["title"]), a["text"], words(a["reference"]), a["difference"], words(a["p"]),
         words(a["verdict"]), words(a["reason"])]
        for a in answers["arms"]
    ]  # fmt: skip
    methods = bullets(f"{words(', '.join(m['arms']))}: {words(m['method'])}." for m in answers["methods"])
    head = ["Arm", "Model", words(answers["metric"]), "Compared with", "Difference", "p", "Verdict", "Remark"]
    return ["### The question, answered", table(head, rows), folded("How intervals and p came about", methods)]


def _performance(part: Part) -> str:
    if "absent" in part:
        return words(part["absent"])
    rows = [
        [words(r["title"]) if not r["score"] else f"*{words(r['title'])}*", r["n"], r["events"], *r["cells"]]
        for r in part["rows"]
    ]
    head = ["Model or *score*", "n", "Events", *(words(c) for c in part["columns"])]
    return "### Performance\n\n" + table(head, rows, right=(1, 2))


def _differences(part: Part) -> list[str]:
    if "absent" in part or not part["rows"]:
        return []
    said = (
        "Same patients, folds and bootstrap samples. p: paired permutation test; Holm: corrected for the "
        f"{part['computed']} comparisons of the endpoint. Shown are models against scores, and models of one learner "
        "against each other."
    )
    controls = (
        [folded("Differences of the controls", _pairs(part["controls"], part["metric"]))] if part["controls"] else []
    )
    return ["### Paired differences", said, _pairs(part["rows"], part["metric"]), *controls]


def _pairs(pairs: Sequence[Part], metric: str) -> str:
    rows = [
        [words(r["model_title"]), words(r["reference_title"]), r["n"], r["events"], r["text"],
         words(r["p_permutation"]), words(r["p_holm"])]
        for r in pairs
    ]  # fmt: skip
    head = ["Model", "Minus", "n", "Events", f"Difference in {words(metric)}", "p", "p (Holm)"]
    return table(head, rows, right=(2, 3))


def _calibration(part: Part) -> list[str]:
    if "absent" in part:
        return [f"Calibration: {words(part['absent'])}."]
    rows = [[words(r["title"]), f"{r['months']:g}", *r["cells"]] for r in part["rows"]]
    head = ["Model", "Months", *(words(c) for c in part["columns"])]
    return [
        "### Calibration and errors of the probabilities",
        folded("Every model at every horizon", table(head, rows, right=(1,))),
    ]


def _shap(part: Part, figure: str) -> list[str]:
    shap = part["shap"]
    if "absent" in shap:
        return []
    rows = [[code(r["feature"]), words(r["meaning"]), r["mean_text"], words(r["direction"])] for r in shap["rows"]]
    head = ["Input", "Meaning", "Mean absolute SHAP", "Direction"]
    text = f"### What moves the prediction: {words(part['model_title'])}"
    said = f"Out-of-fold SHAP values of {shap['n']} patients; the strongest {len(rows)} of {shap['inputs']} inputs."
    return [text, said, figure, table(head, rows, right=(2,))]


def _acceptance(content: Part) -> list[str]:
    if not content["acceptance"]:
        return []
    rows = [
        [code(part["endpoint"]), code(part["model"]), words(c["criterion"]), words(c["required"]), _value(c["value"]),
         "yes" if c["passed"] else "**no**"]
        for part in content["acceptance"]
        for c in part["criteria"]
    ]  # fmt: skip
    verdicts = [
        f"{code(p['endpoint'])}: {'accepted' if p['accepted'] else 'not accepted'}" for p in content["acceptance"]
    ]
    head = ["Endpoint", "Model", "Criterion", "Required", "Found", "Holds?"]
    said = "Declared in the experiment before the run; a registered version gets the alias `accepted` only if all hold."
    return ["## Acceptance", f"{said} {'; '.join(verdicts)}.", table(head, rows)]


def _value(value: Any) -> str:
    return NO_VALUE if value is None else f"{value:.3f}" if isinstance(value, float) else words(value)


def _reproduce(content: Part) -> list[str]:
    lines = "\n".join(content["commands"])
    return [
        "## How to make this again",
        f"```sh\n{lines}\n```",
        "`DATA` is the folder with the data named above." if "DATA" in lines else "",
        _BESIDE,
    ]
