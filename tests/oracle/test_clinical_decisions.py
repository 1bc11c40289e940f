"""Rules that are not additive against the cases of ``clinical_cases.yaml``, a file to be read by clinicians."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from radiomics_crlm import clinical

_FILE = yaml.safe_load(Path(__file__).with_name("clinical_cases.yaml").read_text(encoding="utf-8"))
CASES = [(rule, inputs, expected) for rule, cases in _FILE.items() for inputs, expected in cases]


def close(expected: Any, got: Any) -> bool:
    if isinstance(expected, bool) or expected is None or isinstance(expected, (str, dict)):
        return bool(expected == got) and isinstance(got, bool) == isinstance(expected, bool)
    if isinstance(expected, list):
        return len(expected) == len(got) and all(close(a, b) for a, b in zip(expected, got, strict=True))
    return bool(got == pytest.approx(expected, abs=1e-4))


@pytest.mark.parametrize(("rule", "inputs", "expected"), CASES)
def test_the_case_of_the_definition(rule: str, inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    got = clinical.evaluate(rule, inputs).as_dict()
    assert {key: got.get(key) for key, wanted in expected.items() if not close(wanted, got.get(key))} == {}


def test_every_rule_that_is_not_additive_has_a_case() -> None:
    recalibrated = {name for name in clinical.rule_ids() if name.startswith("plato_")}
    additive = {name for name in clinical.rule_ids() if clinical.describe(name).bounds is not None}
    assert set(_FILE) == set(clinical.rule_ids()) - additive - recalibrated
