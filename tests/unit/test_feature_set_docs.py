"""The examples of docs/feature_sets.md are what the program accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from radiomics_crlm.config import FeatureSetConfig, load_endpoints, parse_config
from radiomics_crlm.errors import LeakError
from radiomics_crlm.modelling.scans import blocks_of, refuse_late_scans
from radiomics_crlm.schema import load_schema

PAGE = Path(__file__).parents[2] / "docs" / "feature_sets.md"


def examples() -> dict[str, FeatureSetConfig]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = {name: body for block in blocks for name, body in yaml.safe_load(block).items()}
    return {name: parse_config(FeatureSetConfig, body, where=name) for name, body in named.items()}


def test_examples_are_valid() -> None:
    found = examples()
    assert set(found) == {
        "clinical", "radiomics", "combined", "burden", "ct_and_mr", "mr_if_there_is_one", "course", "change_of_burden",
        "worst_lesion",
    }  # fmt: skip
    assert [block.prefix for block in blocks_of(found["ct_and_mr"])] == ["CT.portal_venous:", "MR.hbp:"]
    assert [block.required for block in blocks_of(found["mr_if_there_is_one"])] == [False]
    assert [block.prefix for block in blocks_of(found["course"])] == [
        "baseline:", "restaging:", "delta:", "relative_delta:",
    ]  # fmt: skip


def test_columns_of_burden_are_named_as_in_the_table() -> None:
    burden = {name for name in load_schema("features_patient").columns if name.startswith("burden__")}
    assert set(examples()["burden"].selections[0].columns) <= burden
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name.removeprefix('burden__')}`" in text for name in burden)


def test_the_course_is_for_restaging_alone() -> None:
    blocks, endpoints = blocks_of(examples()["course"]), load_endpoints()
    refuse_late_scans(blocks, endpoints["conversion_restaging"].prediction_time)
    with pytest.raises(LeakError, match="known only at restaging"):
        refuse_late_scans(blocks, endpoints["conversion"].prediction_time)
