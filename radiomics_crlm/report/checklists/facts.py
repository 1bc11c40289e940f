"""All facts that the items of checklists name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from radiomics_crlm.report.checklists import image_facts as images
from radiomics_crlm.report.checklists import result_facts as results
from radiomics_crlm.report.checklists import study_facts as study
from radiomics_crlm.report.checklists.evidence import Fact, Sources

FACTS: Mapping[str, Callable[[Sources], Fact | None]] = {
    found.__name__: found
    for found in (
        study.question, study.source, study.centres, study.eligibility, study.outcome, study.candidates,
        study.predictors, study.in_time, study.sample_size, study.enough_patients, study.missing,
        study.partition, study.out_of_fold, study.no_leak, study.tuning, study.steps_repeated, study.building,
        study.overfitting, study.handling, study.scaling, study.selection, study.chosen,
        study.no_updating, study.no_imbalance_method,
        study.no_deep_learning, study.one_cohort, study.external, study.testing, study.flow, study.population,
        study.counts, study.output, study.model_files, study.input_ranges,
        results.intervals, results.calibration, results.net_benefit, results.performance, results.subgroups,
        results.performance_in_subgroups, results.compared, results.beside_rules, results.beside_clinical,
        results.simple_models, results.combined_model, results.explained,
        images.settings, images.preprocessing, images.resampling, images.discretisation, images.image_types,
        images.feature_classes, images.engine, images.feature_count, images.one_setting, images.quality, images.regions,
        images.standardised, images.reliability, images.robust_only, images.one_imaging_set, images.volume,
    )
}  # fmt: skip
"""Name of a fact, as in ``report/data/checklists``, and what finds it in a run."""


def find_facts(run: Sources) -> dict[str, Fact | None]:
    """All facts of a run; a record or table of another shape than expected proves nothing."""
    return {name: _found(find, run) for name, find in FACTS.items()}


def _found(find: Callable[[Sources], Fact | None], run: Sources) -> Fact | None:
    try:
        return find(run)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
