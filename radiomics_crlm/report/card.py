"""The content of the card as one JSON object: every figure that the page shows is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radiomics_crlm.config import DesignConfig
from radiomics_crlm.provenance.files import write_json, write_text
from radiomics_crlm.report import curves, participants, performance
from radiomics_crlm.report.artefacts import Artefacts, load_artefacts
from radiomics_crlm.report.attribution import explanation
from radiomics_crlm.report.page import draw_figures, render_card
from radiomics_crlm.report.scores import scores
from radiomics_crlm.report.verdicts import clinical_counterpart, shown_model, verdict
from radiomics_crlm.report.wording import MOMENTS, cleaned, listed

Part = dict[str, Any]

CARD_VERSION = 1
_MUCH_MISSING = 0.2
_FEW_EVENTS_PER_INPUT = 10


def build_card(out: Path) -> Part:
    """Content of the card of a run folder.

    A part whose artefact is not there carries ``absent`` with the reason instead of its content. No patient-level
    value, key, date or path is in the result; counts below 5 in a category are hidden. The same artefacts give the
    same card.

    Parameters
    ----------
    out
        Run folder with ``run.json`` and ``tables/``.

    Returns
    -------
    dict
        Plain JSON.

    Raises
    ------
    InputError, ConfigError
        If ``run.json`` is absent or does not hold a valid experiment.
    """
    artefacts = load_artefacts(out)
    shown = {name: shown_model(artefacts, name) for name in artefacts.endpoints}
    leak = participants.leak(artefacts)
    card: Part = {
        "card_version": CARD_VERSION,
        "name": artefacts.experiment.name,
        "title": artefacts.experiment.title,
        "question": artefacts.experiment.question,
        "cohort": _cohort(artefacts),
        "leak": leak,
        "verdicts": [verdict(artefacts, n, leaked=leak["allowed"] and n in leak["endpoints"]) for n in shown],
        "use": _use(artefacts),
        "cautions": list(artefacts.experiment.cautions),
        "flow": participants.flow(artefacts),
        "population": participants.population(artefacts),
        "outcomes": participants.outcomes(artefacts),
        "predictors": participants.predictors(artefacts),
        "performance": [performance.performance(artefacts, n, model) for n, model in shown.items()],
        "calibration": [
            curves.calibration(artefacts, n, model)
            for n, m in shown.items()
            for model in _with_counterpart(artefacts, m)
        ],
        "courses": [curves.risk_groups(artefacts, n, model) for n, model in shown.items()],
        "explanations": [explanation(artefacts, n, model) for n, model in shown.items()],
        "scores": scores(artefacts),
        "technical": _technical(artefacts, shown),
    }
    card["notices"] = _notices(artefacts, card)
    card["limits"] = _limits(artefacts, card)
    text: Part = cleaned(card)
    return text


def write_card(out: Path) -> Path:
    """Write ``card.json``, ``card.html`` and ``figures/*.svg`` into a run folder, each atomically; returns the page.

    Raises
    ------
    InputError, ConfigError
        As :func:`build_card`.
    """
    card = build_card(out)
    drawn = draw_figures(card)
    write_json(out / "card.json", card)
    for name, svg in drawn.items():
        write_text(out / "figures" / f"{name}.svg", svg)
    write_text(out / "card.html", render_card(card, drawn))
    return out / "card.html"


def _with_counterpart(artefacts: Artefacts, model: str | None) -> list[str | None]:
    """The model of the card and, where it has one, the clinical model it is set against."""
    other = clinical_counterpart(artefacts, model) if model else None
    return [model, other] if other else [model]


def _cohort(artefacts: Artefacts) -> Part:
    recorded = artefacts.part("cohort")
    return {
        "name": recorded.get("name") or "not named",
        "citation": recorded.get("citation") or "",
        "simulated": bool(recorded.get("simulated", False)),
        "patients_in": recorded.get("patients_in"),
    }


def _use(artefacts: Artefacts) -> Part:
    moments = sorted({MOMENTS[c.prediction_time] for c in artefacts.endpoints.values()})
    populations = sorted({c.population_title for c in artefacts.endpoints.values()})
    return {
        "purpose": "To see how well outcome after colorectal liver metastases can be predicted from what is known at "
        "one moment, and whether a model, or radiomics in it, does better than the scores that surgeons already use.",
        "readers": "Liver surgeons, oncologists, radiologists and researchers of a multidisciplinary team.",
        "patients": f"Colorectal liver metastases: {'; '.join(populations)}.",
        "moment": f"The models speak {listed(moments)}; nothing that becomes known later may enter.",
        "not_for": [
            "deciding on resection, chemotherapy, ablation or transplantation for a patient",
            "refusing a treatment because a predicted risk is high",
            "patients, scanners or moments in treatment other than those studied here, before a validation there",
        ],
    }


_LEAK = (
    "LEAK: predictors that are known only after the moment of prediction were let in on purpose. The performance shown "
    "is not attainable in practice and must not be quoted."
)
_FLOW = (
    "The participant flow does not add up: patients in differ from patients out plus exclusions. Find out why before "
    "using any figure."
)
_SIMULATED = (
    "Simulated data: these patients do not exist. The card shows that the program works; it says nothing about real "
    "patients."
)


def _notices(artefacts: Artefacts, card: Part) -> list[Part]:
    """What the reader must see before any figure, gravest first."""
    notices: list[Part] = []
    if card["leak"]["allowed"] and card["leak"]["admitted"]:
        groups = participants.admitted_by_moment(artefacts, card["leak"]["admitted"])
        notices.append({"kind": "leak", "title": "Leak", "text": _LEAK, "groups": groups})
    stages = [] if "absent" in card["flow"] else [card["flow"]["cohort"], *card["flow"]["endpoints"]]
    if any(stage.get("adds_up") is False for stage in stages):
        notices.append({"kind": "flow", "title": "Participant flow", "text": _FLOW})
    if not artefacts.experiment.performance_claim:
        reasons = " ".join(card["cautions"]) or "The experiment does not support one."
        notices.append({"kind": "claim", "title": "No performance claim", "text": f"No performance claim: {reasons}"})
    if card["cohort"]["simulated"]:
        notices.append({"kind": "simulated", "title": "Simulated data", "text": _SIMULATED})
    return notices


def _limits(artefacts: Artefacts, card: Part) -> list[str]:
    design = artefacts.experiment.design
    compared = sum(len(p["differences"].get("rows", [])) for p in card["performance"])
    limits = [
        f"{_design_text(design)}, tuned in {design.inner_folds} inner folds. Performance elsewhere is unknown and "
        "usually lower.",
        "Intervals are 95 % and conditional on the predictions as made: patients are resampled, models not refitted.",
        f"{compared} paired comparisons were made; their p-values are not corrected for the number of comparisons.",
        "No evidence of a difference is not evidence of no difference: read the interval.",
        "Published clinical scores known before the operation reach a C of 0.55 to 0.65 outside their own cohort "
        "(systematic review, doi:10.3390/cancers18040625). A model far above that should first be checked for a leak.",
        "SHAP values describe what the model does, not what causes the outcome.",
    ]
    limits += [text for p in card["performance"] for row in _ranked(p) if (text := _events_per_input(p, row))]
    much = [
        r["variable"]
        for r in card["population"].get("rows", [])
        if r["missing"] > _MUCH_MISSING * (r["known"] + r["missing"])
    ]
    if much:
        limits.append(f"More than {_MUCH_MISSING:.0%} of values are missing in: {listed(much)}.".replace("%", " %"))
    return limits + ([] if not artefacts.experiment.performance_claim else card["cautions"])


def _design_text(design: DesignConfig) -> str:
    if design.kind == "leave_one_centre_out":
        return "Internal-external validation: each centre was tested by models of the other centres"
    if design.kind == "temporal":
        return "Validation in time: each block of later patients was tested by models of the earlier ones"
    folds = f"{design.repeats} x {design.outer_folds}-fold cross-validation"
    return f"Internal validation only: {folds} by patient in one cohort"


def _ranked(part: Part) -> list[Part]:
    """Rows of the first performance table of an endpoint."""
    return part["tables"][0]["rows"] if part.get("tables") else []


def _events_per_input(part: Part, row: Part) -> str:
    if not row["shown"] or not row["inputs"] or row["events"] >= _FEW_EVENTS_PER_INPUT * row["inputs"]:
        return ""
    return (
        f"{part['title']}: {row['events']} events for {row['inputs']} candidate inputs of the model "
        f"({row['events'] / row['inputs']:.1f} events per input); such models are unstable, and penalties only soften "
        "that."
    )


def _technical(artefacts: Artefacts, shown: Mapping[str, str | None]) -> Part:
    run, design = artefacts.run, artefacts.experiment.design
    delivered = [
        {
            "endpoint": name,
            "title": artefacts.endpoints[name].title if name in artefacts.endpoints else name,
            "model": str(body.get("model", "")),
            "bundle": _basename(body.get("bundle", "")),
            "sha256": body.get("sha256", ""),
        }
        for name, body in artefacts.part("delivered").items()
    ]
    return {
        "engine": run.get("engine") or "not recorded",
        "seed": run.get("seed", design.seed),
        "design": design.model_dump(mode="json"),
        "versions": dict(artefacts.part("versions")),
        "hashes": {_basename(k): v for k, v in artefacts.part("hashes").items()},
        "delivered": delivered,
        "shown": dict(shown),
        "tables_absent": dict(artefacts.absent),
    }


def _basename(path: Any) -> str:
    """Last component of a path: folders of the machine do not belong on the page."""
    return str(path).replace("\\", "/").rstrip("/").rpartition("/")[2]
