"""A study small enough to run inside the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from radiomics_crlm.resources import resource

SMALL: dict[str, Any] = {
    "name": "small",
    "cohort": {"kind": "simulated", "settings": {"patients": 36, "unresectable_fraction": 0.2, "mr_fraction": 0.1}},
    "endpoints": ["recurrence_24m", "recurrence"],
    "learners": ["ridge", "xgboost"],
    "design": {"outer_folds": 3, "repeats": 1, "inner_folds": 3, "seed": 5, "bootstrap_draws": 200, "refits": 4},
    "profiles": {"CT/portal_venous": "ct-portal-venous-native"},
    "deliver": {"recurrence_24m": "combined/ridge", "recurrence": "combined/xgboost"},
}


def write_experiment(path: Path, **changes: object) -> Path:
    """The demo experiment with changes; with other feature sets it has no answer of its own."""
    content = yaml.safe_load(resource("experiments/demo.yaml").read_text(encoding="utf-8"))
    if "feature_sets" in changes:
        del content["answer"]
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return path
