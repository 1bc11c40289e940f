"""Which models a run explains: those it delivers, and where it delivers none the one that the card shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from run_folder import edit_run, experiment, make_run_folder

from radiomics_crlm.config import ExperimentConfig, load_endpoints, parse_config
from radiomics_crlm.report.artefacts import load_artefacts
from radiomics_crlm.report.verdicts import shown_model
from radiomics_crlm.study.models import _explained


@dataclass(frozen=True)
class _Recipe:
    kind: str


@dataclass(frozen=True)
class _Plan:
    endpoint: str
    name: str
    recipe: _Recipe


def _plans(config: ExperimentConfig) -> list[Any]:
    """As `plan_models` orders them, and a control after them."""
    kinds = {name: _Recipe(load_endpoints()[name].kind) for name in config.endpoints}
    plans = [
        _Plan(endpoint, f"{feature_set}/{learner}", kinds[endpoint])
        for endpoint in config.endpoints
        for feature_set in config.feature_sets
        for learner in config.learners
    ]
    return [*plans, *(_Plan(endpoint, "volume_only/ridge", kinds[endpoint]) for endpoint in config.endpoints)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run_folder(tmp_path_factory.mktemp("models"), n=60)


@pytest.mark.parametrize(
    "deliver", [{}, {"os": "clinical/ridge"}, {"recurrence": "radiomics/ridge", "os": "combined/xgboost"}]
)
def test_the_model_of_the_card_is_explained(run: Path, deliver: dict[str, str]) -> None:
    content = experiment(deliver=deliver)
    edit_run(run, experiment=content, delivered={})
    artefacts, config = load_artefacts(run), parse_config(ExperimentConfig, content, where="test")
    plans = _plans(config)
    found = {plans[n].endpoint: plans[n].name for n in _explained(config, plans)}
    assert found == {name: shown_model(artefacts, name) for name in config.endpoints}
    assert {name: found[name] for name in deliver} == deliver


def test_one_model_alone_is_explained_only_if_the_whole_run_explains_it() -> None:
    config = parse_config(ExperimentConfig, experiment(deliver={}), where="test")
    plans = _plans(config)
    whole = {(plans[n].endpoint, plans[n].name) for n in _explained(config, plans)}
    for plan in plans:
        assert bool(_explained(config, [plan])) == ((plan.endpoint, plan.name) in whole)


def test_learners_that_do_not_fit_are_passed_over() -> None:
    config = parse_config(ExperimentConfig, experiment(deliver={}, learners=["fine_gray", "ridge"]), where="test")
    plans = _plans(config)
    names = {plans[n].endpoint: plans[n].name for n in _explained(config, plans)}
    assert names == {"recurrence": "combined/fine_gray", "os": "combined/fine_gray", "recurrence_24m": "combined/ridge"}
