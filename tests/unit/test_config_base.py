"""Configuration: a misspelt key is answered with the one that may be meant."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from radiomics_crlm.config import ExperimentConfig, parse_config
from radiomics_crlm.errors import ConfigError
from radiomics_crlm.resources import resource


def refused(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError, match="mine: the configuration is not valid") as error:
        parse_config(ExperimentConfig, content, where="mine")
    return str(error.value)


@pytest.fixture
def content() -> dict[str, Any]:
    return dict(yaml.safe_load(resource("experiments/demo.yaml").read_text(encoding="utf-8")))


def test_a_misspelt_key_at_any_depth(content: dict[str, Any]) -> None:
    content["design"]["outerfolds"] = 3
    content["learnrs"] = ["ridge"]
    content["feature_sets"]["clinical"]["column"] = []
    said = refused(content)
    assert "design.outerfolds: Extra inputs are not permitted (did you mean outer_folds?)" in said
    assert "learnrs: Extra inputs are not permitted (did you mean learners?)" in said
    assert "feature_sets.clinical.column: Extra inputs are not permitted (did you mean columns?)" in said


def test_nothing_is_suggested_for_a_key_that_is_near_to_none(content: dict[str, Any]) -> None:
    content["zzzz"] = 1
    assert "zzzz: Extra inputs are not permitted." in refused(content)


def test_a_wrong_value_gets_no_suggestion(content: dict[str, Any]) -> None:
    content["design"]["outer_folds"] = "many"
    said = refused(content)
    assert "design.outer_folds: Input should be" in said
    assert "did you mean" not in said
