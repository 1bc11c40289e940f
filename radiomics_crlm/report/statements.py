"""What the card says in words of its own: what a model is for, where its limits are, and what it was made with."""

from __future__ import annotations

from typing import Any

from radiomics_crlm.config import DesignConfig
from radiomics_crlm.report.artefacts import TABLES, Artefacts
from radiomics_crlm.report.verdicts import shown_model
from radiomics_crlm.report.wording import MOMENTS, listed

Part = dict[str, Any]

_MUCH_MISSING = 0.2
_FEW_EVENTS_PER_INPUT = 10


def use(artefacts: Artefacts, _: Part) -> Part:
    """Purpose, readers, patients, moment, and what the models are not for."""
    moments = sorted({MOMENTS[c.prediction_time] for c in artefacts.endpoints.values()})
    populations = sorted({c.population_title for c in artefacts.endpoints.values()})
    return {
        "purpose": "To see how well outcome after colorectal liver metastases can be predicted from what is known at "
        "one moment, and whether a model, or radiomics in it, does better than the scores that surgeons already use.",
        "readers": "Liver surgeons, oncologists, radiologists and researchers of a multidisciplinary team.",
        "users": "Members of that team who have read the limits below, for research and for review. Not patients, and "
        "no program that acts by itself; use in care needs the sign-off below and every approval the law asks for.",
        "patients": f"Colorectal liver metastases: {'; '.join(populations)}.",
        "moment": f"The models speak {listed(moments)}; nothing that becomes known later may enter.",
        "not_for": [
            "deciding on resection, chemotherapy, ablation or transplantation for a patient",
            "refusing a treatment because a predicted risk is high",
            "patients, scanners or moments in treatment other than those studied here, before a validation there",
        ],
    }


def cautions(artefacts: Artefacts, _: Part) -> list[str]:
    """What the experiment itself warns of."""
    return list(artefacts.experiment.cautions)


def limits(artefacts: Artefacts, card: Part) -> list[str]:
    """What must be kept in mind with every figure; needs the performance and the population of the card."""
    design = artefacts.experiment.design
    compared = sum(len(p["differences"].get("rows", [])) for p in card["performance"])
    found = [
        f"{_design_text(design)}, tuned in {design.inner_folds} inner folds. Performance elsewhere is unknown and "
        "usually lower.",
        "Intervals are 95 % and conditional on the predictions as made: patients are resampled, models not refitted. "
        "What radiomics adds is judged, where folds are random, by an interval that allows for refitted models.",
        f"{compared} paired comparisons were made; only the column “p, Holm” is corrected for their number.",
        "No evidence of a difference is not evidence of no difference: read the interval.",
        "Published clinical scores known before the operation reach a C of 0.55 to 0.65 outside their own cohort "
        "(systematic review, doi:10.3390/cancers18040625). A model far above that should first be checked for a leak.",
        "SHAP values describe what the model does, not what causes the outcome.",
    ]
    found += [text for p in card["performance"] for row in _ranked(p) if (text := _events_per_input(p, row))]
    much = [
        r["variable"]
        for r in card["population"].get("rows", [])
        if r["missing"] > _MUCH_MISSING * (r["known"] + r["missing"])
    ]
    if much:
        found.append(f"More than {_MUCH_MISSING:.0%} of values are missing in: {listed(much)}.".replace("%", " %"))
    return found + ([] if not artefacts.experiment.performance_claim else card["cautions"])


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


def technical(artefacts: Artefacts, _: Part) -> Part:
    """Engine, seed, design, delivered models, versions, and the hashes of everything behind the card."""
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
        "design": design.model_dump(mode="json") | {"external": sorted(design.external)},
        "versions": dict(artefacts.part("versions")),
        "hashes": {_basename(k): v for k, v in artefacts.part("hashes").items()},
        "delivered": delivered,
        "tables": dict(artefacts.files),
        "shown": {name: shown_model(artefacts, name) for name in artefacts.endpoints},
        "tables_absent": {name: why for name, why in artefacts.absent.items() if name in TABLES},
    }


def _basename(path: Any) -> str:
    """Last component of a path: folders of the machine do not belong on the page."""
    return str(path).replace("\\", "/").rstrip("/").rpartition("/")[2]
