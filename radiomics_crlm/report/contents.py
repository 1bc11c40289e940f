"""The sections of the card, in the order in which a clinician reads them: question, patients, results, small print.

To add a section, write a builder that returns blocks (:mod:`radiomics_crlm.report.blocks`) and name it here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from radiomics_crlm.report import curves, participants, statements
from radiomics_crlm.report.answer_page import answers
from radiomics_crlm.report.artefacts import Artefacts
from radiomics_crlm.report.attributes import attributes
from radiomics_crlm.report.attribution import explanation
from radiomics_crlm.report.checklist_page import checklists
from radiomics_crlm.report.decision import decisions
from radiomics_crlm.report.elsewhere import elsewhere
from radiomics_crlm.report.explained import explained
from radiomics_crlm.report.horizons import horizons
from radiomics_crlm.report.nomogram_page import nomograms
from radiomics_crlm.report.operating_points import thresholds
from radiomics_crlm.report.performance import performance
from radiomics_crlm.report.reclassified import reclassification
from radiomics_crlm.report.refits import instability
from radiomics_crlm.report.robust_features import robustness
from radiomics_crlm.report.sample_size import sample_size
from radiomics_crlm.report.scores import scores
from radiomics_crlm.report.signoff import signoff
from radiomics_crlm.report.standardised import standardisation
from radiomics_crlm.report.subgroup_panel import subgroups
from radiomics_crlm.report.uncertainty import data_shift, uncertainty
from radiomics_crlm.report.verdicts import clinical_counterpart, shown_model, verdict

Part = dict[str, Any]
Builder = Callable[[Artefacts, Part], Any]
"""Makes a part of the card from the artefacts of a run and from the parts made before it."""


@dataclass(frozen=True)
class Section:
    """A section of the card.

    Parameters
    ----------
    ident
        Anchor on the page; a section with a template has it as ``section_{ident}.html.j2``.
    title, short
        Heading, and its name in the table of contents.
    parts
        Keys of the card that the section is made of, and what builds them, in order.
    blocks
        Those of them that are made of blocks; they are shown below the template, if there is one.
    template
        Whether the section has a template of its own.
    lead
        Opening sentences.
    """

    ident: str
    title: str
    short: str
    parts: tuple[tuple[str, Builder], ...]
    blocks: tuple[str, ...] = ()
    template: bool = False
    lead: str = ""


def _verdicts(artefacts: Artefacts, card: Part) -> list[Part]:
    leak = card["leak"]
    return [verdict(artefacts, n, leaked=leak["allowed"] and n in leak["endpoints"]) for n in artefacts.endpoints]


def _calibration(artefacts: Artefacts, _: Part) -> list[Part]:
    """The model of the card and, where it has one, the clinical model it is set against."""
    found = []
    for name in artefacts.endpoints:
        model = shown_model(artefacts, name)
        other = clinical_counterpart(artefacts, model) if model else None
        found += [curves.calibration(artefacts, name, m) for m in ([model, other] if other else [model])]
    return found


def _of_run(build: Callable[[Artefacts], Any]) -> Builder:
    """A builder that needs nothing of the card."""
    return lambda artefacts, _: build(artefacts)


def _of_shown(build: Callable[[Artefacts, str, str | None], Part]) -> Builder:
    """A builder that is asked once per endpoint, for the model of the card."""
    return lambda artefacts, _: [build(artefacts, name, shown_model(artefacts, name)) for name in artefacts.endpoints]


_VERDICT = (
    "C is the share of pairs of patients in which the one with the earlier event had the higher predicted risk; AUC "
    "is the same for an event within a fixed time. 0.5 is chance, 1 is perfect. Brackets hold 95 % intervals. All "
    "figures come from patients the model had not seen."
)
_ANSWER = (
    "Does radiomics add anything to what is known without it? Rules, models and controls stand side by side on the "
    "same folds; each difference is to the reference named beside it. Controls that must find nothing show that what "
    "the others find is not made by the method."
)
_SAMPLE_SIZE = "Before anything was fitted: whether there are enough patients for as many candidate inputs."
_PERFORMANCE = (
    "Models and scores are judged on the same patients and the same folds, always out of fold. n is the number of "
    "patients that could be assessed; scores that lack an input for a patient are not filled in."
)
_EXTERNAL = (
    "Models of the whole cohort, tried once in patients of other hospitals or times: the test that counts before "
    "anybody relies on them."
)
_CALIBRATION = (
    "Do predicted probabilities mean what they say? Patients are grouped by their mean out-of-fold probability; "
    "observed is the Aalen-Johansen incidence in the group, which takes censoring and competing events into account. "
    "Curves over all patients follow."
)
_DECISIONS = (
    "Would acting on the model do more good than harm? A threshold of 20 % says that it is worth treating four "
    "patients without the event in order to treat one with it."
)
_THRESHOLDS = "Cut-offs that divide patients into high and low risk, and what they keep of their promise."
_SUBGROUPS = "Does the model work for everybody? The subgroups were named in the experiment, before any result."
_COURSES = (
    "Patients in thirds of predicted risk, ranked within the test fold of the first repeat. Curves are shown on whole"
    " months while at least ten patients are followed; shading is the pointwise 95 % interval. Thirds describe "
    "separation; they are not treatment groups."
)
_INSTABILITY = (
    "How different would the prediction of a patient be if the model had been built on other patients of the same kind?"
)
_UNCERTAINTY = "How much does a prediction leave open, and for whom does what it says hold?"
_SHIFT = "What happens with patients unlike those that the model learned from."
_EXPLANATION = (
    "SHAP values of patients the model had not seen: how far each input moves the prediction (log hazard ratio or log"
    " odds of the event; of a random forest its probability) from the average of the training patients. They describe"
    " the model, not causes."
)
_NOMOGRAM = (
    "The delivered linear models for pencil and paper: the same predictions as the program makes, but for rounding. "
    "For looking into a model, not for treating a patient by it."
)
_ROBUSTNESS = "Would a patient, scanned or outlined again, have the same features, and do these see more than volume?"
_SIGNOFF = (
    "To be filled in by hand. The program fills in nothing here; an empty block means that nobody has approved the "
    "model."
)

SECTIONS: tuple[Section, ...] = (
    Section("verdict", "Verdict", "Verdict", (("verdicts", _verdicts),), template=True, lead=_VERDICT),
    Section(
        "answer", "The question, answered", "Answer", (("answers", answers),), blocks=("answers",), lead=_ANSWER
    ),
    Section(
        "use", "Intended use and cautions", "Use",
        (("use", statements.use), ("cautions", statements.cautions)), template=True,
    ),
    Section(
        "participants", "Participants", "Participants",
        (("flow", _of_run(participants.flow)), ("population", _of_run(participants.population))), template=True,
    ),
    Section(
        "outcomes", "Outcome definitions", "Outcomes", (("outcomes", _of_run(participants.outcomes)),), template=True
    ),
    Section(
        "predictors", "Predictors and when each is known", "Predictors",
        (("predictors", _of_run(participants.predictors)),), template=True,
    ),
    Section(
        "sample-size", "Sample size", "Sample size", (("sample_size", sample_size),), blocks=("sample_size",),
        lead=_SAMPLE_SIZE,
    ),
    Section(
        "performance", "Performance", "Performance", (("performance", _of_shown(performance)),), template=True,
        lead=_PERFORMANCE,
    ),
    Section(
        "external", "Other cohorts", "Other cohorts", (("external", elsewhere),), blocks=("external",), lead=_EXTERNAL
    ),
    Section(
        "calibration", "Calibration", "Calibration", (("calibration", _calibration), ("horizons", horizons)),
        blocks=("horizons",), template=True, lead=_CALIBRATION,
    ),
    Section(
        "decisions", "Decision curves", "Decision curves", (("decisions", decisions),), blocks=("decisions",),
        lead=_DECISIONS,
    ),
    Section(
        "thresholds", "Thresholds", "Thresholds", (("thresholds", thresholds),), blocks=("thresholds",),
        lead=_THRESHOLDS,
    ),
    Section(
        "subgroups", "Subgroups", "Subgroups", (("subgroups", subgroups),), blocks=("subgroups",), lead=_SUBGROUPS
    ),
    Section(
        "reclassification", "Reclassification", "Reclassification", (("reclassification", reclassification),),
        blocks=("reclassification",),
    ),
    Section(
        "courses", "Observed course by predicted risk", "Risk groups", (("courses", _of_shown(curves.risk_groups)),),
        template=True, lead=_COURSES,
    ),
    Section(
        "instability", "Prediction instability", "Instability", (("instability", instability),),
        blocks=("instability",), lead=_INSTABILITY,
    ),
    Section(
        "uncertainty", "Prediction sets and time free of the event", "Prediction sets", (("uncertainty", uncertainty),),
        blocks=("uncertainty",), lead=_UNCERTAINTY,
    ),
    Section(
        "explanation", "What moves the prediction", "Explanation",
        (("explanations", _of_shown(explanation)), ("explained", explained)), blocks=("explained",), template=True,
        lead=_EXPLANATION,
    ),
    Section(
        "nomogram", "Points table and nomogram", "Nomogram", (("nomograms", nomograms),), blocks=("nomograms",),
        lead=_NOMOGRAM,
    ),
    Section(
        "robustness", "Robustness of the features", "Robustness", (("robustness", robustness),),
        blocks=("robustness",), lead=_ROBUSTNESS,
    ),
    Section(
        "standardisation", "Standardisation of the features (IBSI)", "IBSI", (("standardisation", standardisation),),
        blocks=("standardisation",),
    ),
    Section("scores", "Clinical scores in this cohort", "Scores", (("scores", _of_run(scores)),), template=True),
    Section(
        "shift", "Data shift policy", "Data shift", (("shift_policy", data_shift),), blocks=("shift_policy",),
        lead=_SHIFT,
    ),
    Section("limits", "Limits", "Limits", (("limits", statements.limits),), template=True),
    Section("technical", "Provenance", "Provenance", (("technical", statements.technical),), template=True),
    Section(
        "attributes", "Source attributes (HTI-1, CHAI)", "HTI-1, CHAI", (("attributes", attributes),),
        blocks=("attributes",),
    ),
    Section(
        "checklists", "Checklists", "Checklists", (("checklists", checklists),), blocks=("checklists",)
    ),
    Section("signoff", "Sign-off", "Sign-off", (("signoff", signoff),), template=True, lead=_SIGNOFF),
)  # fmt: skip
