"""Facts on design, patients and models: what the record of the run, its folds and its bundles prove."""

from __future__ import annotations

import pandas as pd

from radiomics_crlm.report.checklists.evidence import Fact, Pointer, Sources, holds, no, not_applicable, yes
from radiomics_crlm.report.wording import LEARNERS, listed

_SHRINKING = frozenset({"ridge", "elastic_net", "xgboost", "xgboost_aft", "ebm", "random_forest", "fine_gray"})


def question(run: Sources) -> Fact | None:
    """The experiment asks a question, and its design says that models are developed and evaluated."""
    if not run.record("experiment.question") or not run.record("experiment.design.kind"):
        return None
    return yes(
        run.at_record("experiment.question", "the question of the experiment"),
        run.at_record("experiment.design", "models are developed and evaluated"),
    )


def source(run: Sources) -> Fact | None:
    """The cohort is named."""
    name = run.record("cohort.name")
    return yes(run.at_record("cohort", f"cohort: {name}")) if name else None


def centres(run: Sources) -> Fact | None:
    """Each centre was tested by models of the others."""
    column, folds = run.record("experiment.design.column"), run.table("folds")
    if run.record("experiment.design.kind") != "leave_one_centre_out" or folds is None:
        return None
    held_out = f"{folds['fold'].nunique()} centres, each held out once"
    return yes(run.at_record("experiment.design", f"centres by {column}"), run.at_table("folds", ["fold"], held_out))


def eligibility(run: Sources) -> Fact | None:
    """Populations of the endpoints are defined, and exclusions have reasons."""
    found = [
        run.at_record(f"endpoints.{name}.population_title", config.population_title)
        for name, config in run.artefacts.endpoints.items()
        if run.record(f"endpoints.{name}.population_title")
    ]
    return yes(*found, run.at_record("flow", "exclusions with their reasons")) if found and run.record("flow") else None


def outcome(run: Sources) -> Fact | None:
    """Event, time and index date of every endpoint are defined."""
    found = [
        run.at_record(f"endpoints.{name}", f"{config.title}: event {config.event}, from {config.index_date}")
        for name, config in run.artefacts.endpoints.items()
        if run.record(f"endpoints.{name}.event")
    ]
    return yes(*found) if found else None


def candidates(run: Sources) -> Fact | None:
    """The candidate inputs of every feature set are declared."""
    sets = run.record("experiment.feature_sets")
    return (
        yes(run.at_record("experiment.feature_sets", f"{len(sets)} feature sets, declared in the experiment"))
        if sets
        else None
    )


def predictors(run: Sources) -> Fact | None:
    """Every model names its inputs, and every clinical column says when it is known."""
    population = run.record("population")
    if not run.record("models") or not population or not all(row.get("available_at") for row in population):
        return None
    return yes(
        run.at_record("models", "the inputs of every model"),
        run.at_record("population", "unit and moment of every clinical column"),
    )


def in_time(run: Sources) -> Fact | None:
    """No input is known only after the moment of prediction."""
    leak = run.record("leak")
    if leak is None or "admitted" not in leak:
        return None
    admitted = leak["admitted"]
    if any(admitted.values()) if isinstance(admitted, dict) else admitted:
        return no(run.at_record("leak.admitted", "inputs that are known only later were let in"))
    return yes(
        run.at_record("leak.admitted", "none let in that is known only later"),
        run.at_record("leak.refused", "what was refused"),
    )


def sample_size(run: Sources) -> Fact | None:
    """The sample size was judged."""
    if run.table("sample_size") is None:
        return None
    shows = "criteria of Riley et al. for every endpoint and feature set"
    return yes(run.at_table("sample_size", ["n", "events", "n_required", "sufficient"], shows))


def enough_patients(run: Sources) -> Fact | None:
    """There are as many patients as the criteria ask for, for every delivered model (or for every model)."""
    panel = run.table("sample_size")
    if panel is None:
        return None
    wanted = {(name, model.partition("/")[0]) for name, model in run.experiment.deliver.items()}
    pairs = list(zip(panel["endpoint"], panel["feature_set"], strict=True))
    judged = panel.loc[[pair in wanted for pair in pairs]] if wanted else panel
    if not len(judged):
        return None
    enough = int(judged["sufficient"].sum())
    least = judged.assign(share=judged["n"] / judged["n_required"]).sort_values("share").iloc[0]
    shows = f"enough patients for {enough} of {len(judged)} models; the least: {least['n']} of {least['n_required']}"
    pointer = run.at_table("sample_size", ["n", "n_required", "sufficient"], shows)
    return yes(pointer) if enough == len(judged) else no(pointer)


def missing(run: Sources) -> Fact | None:
    """Missing values are counted, imputed inside the model, and who was left out has a reason."""
    population, imputing = run.record("population"), _in_bundles(run, "fill", "imputation is a step of the model")
    if not population or not imputing or not run.record("flow"):
        return None
    counted = run.at_record("population", "known and missing values of every column")
    return yes(counted, *imputing, run.at_record("flow", "reasons of all exclusions"))


def partition(run: Sources) -> Fact | None:
    """Each patient lies in exactly one outer fold of each repeat."""
    folds = run.table("folds")
    if folds is None or folds.duplicated(["patient_id", "repeat"]).any() or not run.record("experiment.design"):
        return None
    shows = f"each patient in one fold of {folds['repeat'].nunique()} repeats"
    return yes(
        run.at_table("folds", ["patient_id", "repeat", "fold"], shows),
        run.at_record("experiment.design", "design and seed of the folds"),
    )


def out_of_fold(run: Sources) -> Fact | None:
    """All predictions that are judged were made for patients of the fold that was held out."""
    folds, made = run.table("folds"), run.table("predictions")
    if folds is None or made is None:
        return None
    keys = ["patient_id", "repeat"]
    known = made.merge(folds, on=keys, how="left", suffixes=("", "_drawn"), validate="many_to_one")
    if not (known["fold"] == known["fold_drawn"]).all():
        return None
    return yes(
        run.at_table("predictions", [*keys, "fold"], "each prediction bears the fold that was held out"),
        run.at_table("folds", [*keys, "fold"], "the folds, drawn once"),
    )


def no_leak(run: Sources) -> Fact | None:
    """Folds by patient, predictions out of fold, and nothing known later."""
    timely, apart, outside = in_time(run), partition(run), out_of_fold(run)
    if timely is not None and timely.state == "no":
        return timely
    if timely is None or apart is None or outside is None:
        return None
    return yes(*apart.evidence[:1], *outside.evidence[:1], *timely.evidence[:1])


def tuning(run: Sources) -> Fact | None:
    """Settings were tuned in inner folds of each outer training set."""
    tried, inner = run.tuning(), run.record("experiment.design.inner_folds")
    if tried is None or inner is None or not _tuned_apart(tried):
        return None
    shows = "settings tried in each outer fold apart"
    return yes(
        run.at("tables/tuning.csv", "columns endpoint, model, repeat, fold", shows),
        run.at_record("experiment.design.inner_folds", f"{inner} inner folds"),
    )


def steps_repeated(run: Sources) -> Fact | None:
    """Tuning is repeated in each outer fold, and imputation is part of the model that is fitted there."""
    tuned, imputed = tuning(run), _in_bundles(run, "fill", "imputation is a step of the model")
    return yes(*tuned.evidence, *imputed) if tuned and imputed else None


def _tuned_apart(tried: pd.DataFrame) -> bool:
    per_model = tried.drop_duplicates(["endpoint", "model", "repeat", "fold"]).groupby(["endpoint", "model"]).size()
    return bool((per_model > 1).all())


def building(run: Sources) -> Fact | None:
    """Learners, selection, tuning and validation are declared, and the settings tried are kept."""
    learners, tuned = run.record("experiment.learners"), tuning(run)
    if not learners or tuned is None:
        return None
    words = listed(LEARNERS.get(name, name) for name in learners)
    return yes(
        run.at_record("experiment.learners", words),
        run.at_record("experiment.selection", "selection of inputs"),
        *tuned.evidence,
    )


def overfitting(run: Sources) -> Fact | None:
    """All learners shrink or average, and are tuned in inner folds."""
    learners, tuned = run.record("experiment.learners"), tuning(run)
    if not learners or not set(learners) <= _SHRINKING or tuned is None:
        return None
    words = listed(LEARNERS.get(name, name) for name in learners)
    return yes(run.at_record("experiment.learners", f"penalised or averaged: {words}"), *tuned.evidence)


def handling(run: Sources) -> Fact | None:
    """The model says how each column is encoded and imputed."""
    found = _in_bundles(run, "columns", "kind, categories and logarithm of every column")
    return yes(*found) if found else None


def scaling(run: Sources) -> Fact | None:
    """The model holds the mean and scale of its inputs."""
    found = _in_bundles(run, "scale", "scale of the inputs")
    return yes(*found) if found else None


def selection(run: Sources) -> Fact | None:
    """Radiomic inputs are selected inside each training fold."""
    method = run.record("experiment.selection.method")
    if method is None:
        return None
    if method == "none":
        return no(run.at_record("experiment.selection.method", "no selection of inputs"))
    shows = f"{method}, {run.experiment.selection.k} radiomic inputs, in each training fold"
    return yes(run.at_record("experiment.selection", shows))


def chosen(run: Sources) -> Fact | None:
    """The delivered model is named in the experiment."""
    if not run.record("experiment.deliver"):
        return None
    return yes(run.at_record("experiment.deliver", "named in the experiment"))


def no_updating(run: Sources) -> Fact | None:
    """The experiment has no step that updates a model after its evaluation."""
    if run.record("experiment") is None:
        return None
    return not_applicable(run.at_record("experiment", "no step updates a model after its evaluation"))


def no_imbalance_method(run: Sources) -> Fact | None:
    """The experiment has no step that resamples classes."""
    if run.record("experiment") is None:
        return None
    return not_applicable(run.at_record("experiment", "no step resamples or reweights classes for balance"))


def no_deep_learning(run: Sources) -> Fact | None:
    """All learners take tables of features."""
    learners = run.record("experiment.learners")
    if not learners or not set(learners) <= set(LEARNERS):
        return None
    return not_applicable(run.at_record("experiment.learners", "all learn from tables of features"))


def one_cohort(run: Sources) -> Fact | None:
    """Development and evaluation use the same cohort: there is no other data to compare."""
    design = run.record("experiment.design")
    if design is None or design["external"] or design["kind"] != "repeated_cv":
        return None
    return not_applicable(run.at_record("experiment.design", "evaluated in folds of the same cohort"))


def external(run: Sources) -> Fact | None:
    """Delivered models were tried in another cohort; without one, the answer is no."""
    named, tried = run.record("experiment.design.external"), run.external()
    if named is None:
        return None
    if tried:
        files = [run.at(f"tables/external/{n}/metrics.parquet", "columns estimate, lower, upper", n) for n in tried]
        return yes(*files)
    return None if named else no(run.at_record("experiment.design.external", "no other cohort"))


def testing(run: Sources) -> Fact | None:
    """Internal testing by folds, and external testing if there is any."""
    inside, outside = out_of_fold(run), external(run)
    if inside is None:
        return None
    return yes(*inside.evidence, *(outside.evidence if outside else ()))


def flow(run: Sources) -> Fact | None:
    """In every account, patients in are patients out and exclusions, with and without the event."""
    flows = run.record("flow")
    if not flows or not flows.get("endpoints"):
        return None
    accounts = {"flow.cohort": flows["cohort"]} | {f"flow.endpoints.{n}": b for n, b in flows["endpoints"].items()}
    wrong = [
        path for path, body in accounts.items() if body["in"] != body["out"] + sum(e["n"] for e in body["excluded"])
    ]
    if wrong:
        return no(*(run.at_record(path, "patients in differ from patients out and exclusions") for path in wrong))
    shows = f"{len(accounts)} accounts add up; events, competing and censored are counted"
    follow_up = run.table("outcomes")
    times = [run.at_table("outcomes", ["event", "months"], "follow-up")] if follow_up is not None else []
    return yes(run.at_record("flow", shows), *times)


def population(run: Sources) -> Fact | None:
    """Characteristics with known and missing values."""
    rows = run.record("population")
    return yes(run.at_record("population", f"{len(rows)} characteristics with missing values")) if rows else None


def counts(run: Sources) -> Fact | None:
    """Patients and events of each model and each metric."""
    if not run.record("models") or run.table("metrics") is None:
        return None
    return yes(
        run.at_record("models", "patients and events of every model"),
        run.at_table("metrics", ["n", "events"], "patients and events behind every metric"),
    )


def output(run: Sources) -> Fact | None:
    """Models give a risk and probabilities; thresholds say how they were chosen."""
    made = run.table("predictions")
    if made is None:
        return None
    given = [c for c in made if c == "risk" or (str(c).startswith("probability_") and made[c].notna().any())]
    found = [run.at_table("predictions", [str(c) for c in given], "risk and probabilities")]
    if run.table("thresholds") is not None:
        found.append(run.at_table("thresholds", ["rule", "threshold"], "how each threshold was chosen in its fold"))
    return yes(*found)


def model_files(run: Sources) -> Fact | None:
    """Every delivered model is a whole bundle of plain numbers."""
    whole = [folder for folder, _ in run.bundles()]
    if not whole:
        return None
    shows = "the model as plain numbers; hashes match those of the record"
    return yes(*(run.at(f"{folder}/manifest.json", "$.files", shows) for folder in whole))


def input_ranges(run: Sources) -> Fact | None:
    """Bundles hold the ranges of the training data, against which inputs are checked."""
    found = [
        run.at(f"{folder}/bundle.json", "$.training.inputs", "ranges of the training data, by input")
        for folder, parts in run.bundles()
        if parts.get("bundle.json", {}).get("training", {}).get("inputs")
    ]
    return yes(*found) if found else None


def _in_bundles(run: Sources, key: str, shows: str) -> list[Pointer]:
    """Evidence of a part that the model of every bundle has; empty if one lacks it."""
    found = []
    for folder, parts in run.bundles():
        if not holds(parts.get("model.json"), key):
            return []
        found.append(run.at(f"{folder}/model.json", f"$..{key}", shows))
    return found
