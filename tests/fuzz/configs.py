"""Every YAML and JSON document that a user may give: experiment, extraction profiles, notes of a cohort, endpoints, and
the record of a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from fuzz.campaign import Case
from fuzz.damage import damaged, spliced
from fuzz.trees import BEYOND_JSON, TRAPS, spoilt
from radiomics_crlm.cohort.clinical import read_cohort_folder
from radiomics_crlm.cohort.endpoints import build_outcome
from radiomics_crlm.config import EndpointConfig, ExperimentConfig, SimulatedSource, load_config, parse_config
from radiomics_crlm.features.profiles import load_profiles
from radiomics_crlm.phantom.settings import SimulationConfig
from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.resources import resource
from radiomics_crlm.study.prepare import choose_endpoints
from radiomics_crlm.study.run import load_experiment

Rng = np.random.Generator
_TRAPS = (*TRAPS, *BEYOND_JSON)
_SCALARS = (
    "!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/tuple [1]", "!!binary '*'",
    "!!int ''", "!!int x", "!!float ''", "!!bool maybe", "!!timestamp x", "!!null x", "!!set {a, b}", "!!omap [a: 1]",
    "!!pairs [[a]]", "!!seq {}", "!!map []", "!foreign x", "!<tag:x> y", "2020-13-45", "2020-02-30",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "190:20:30", "0b_", "0x_", "._", "+.", "0o8", "1_000",
    "9" * 5000, ".inf", "-.INF", ".NaN", "1e400", "~", "yes", "NO", "on", "0777", "&a [*a]", "&a {x: *a}", "*missing",
    "|\n  block", ">-\n\n", "'", '"\\x"', '"\\ud800"', '"\\U00110000"', "? [a]: b", "{a: 1, a: 2}", "{? {}: 1}",
    "{[]: 1}",
    "<<", "{<<: 1}", "{<<: [1, 2]}", "{<<: {<<: {}}}", "@x", "`x", "%x", "\t", "- - - -", "é", "\U0001f600", "\u2028",
    "[" * 60, "{a: " * 60, "# comment",
)  # fmt: skip


def laughing(levels: int, width: int) -> str:
    """Lists of lists by reference: few characters, a great many values."""
    lines = ['a0: &a0 "lol"'] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


_DOCUMENTS: tuple[Callable[[], str], ...] = (
    lambda: "", lambda: "null", lambda: "[]", lambda: "text", lambda: "5", lambda: "--- 1\n--- 2\n",
    lambda: "%YAML 9.9\n---\n{}",
    lambda: "&a [*a]", lambda: "&a {a: *a}", lambda: "[" * 20000, lambda: "{a: " * 3000, lambda: "- " * 5000 + "x",
    lambda: laughing(10, 10), lambda: laughing(4, 3), lambda: "a: 1\n" * 3000, lambda: f"a: {'x' * 3_000_000}",
    lambda: "[" + "1," * 200_000 + "]", lambda: "\n" * 1_000_000, lambda: "# x\n" * 200_000,
    lambda: "a: |\n" + "  x\n" * 100_000,
    lambda: "\n".join(f"k{n}: {n}" for n in range(20000)), lambda: "? " * 5000, lambda: "a: 'x" + "\n" * 10000,
)  # fmt: skip


class Configs:
    """Reader ``yaml``: the functions by which the commands read each kind of document."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "yaml"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "clinical.csv").write_text(
            "patient_id,CEA,largest_met_cm,crlm_diagnosis_date,sex\nA,5,2.1,31.01.2020,male\nB,,1,01.02.2020,female\n"
        )
        experiments = sorted(resource("experiments").glob("*.yaml"))
        self._texts: dict[str, list[str]] = {
            "experiment": [path.read_text(encoding="utf-8") for path in experiments],
            "profiles": [resource("configs/extract.yaml").read_text(encoding="utf-8")],
            "cohort": [_NOTES],
            "endpoint": [
                yaml.safe_dump(body) for body in yaml.safe_load(resource("configs/endpoints.yaml").read_text()).values()
            ],
        }
        self._texts["record"] = [json.dumps({"experiment": yaml.safe_load(t)}) for t in self._texts["experiment"]]
        self._bodies = {name: [yaml.safe_load(t) for t in texts] for name, texts in self._texts.items()}

    def case(self, rng: Rng) -> Case:
        """The next input."""
        target = ("experiment", "experiment", "profiles", "cohort", "endpoint", "record")[int(rng.integers(6))]
        texts, bodies = self._texts[target], self._bodies[target]
        which = int(rng.integers(len(texts)))
        way = ("tree", "tree", "tree", "tree", "scalar", "scalar", "bytes", "splice", "document")[int(rng.integers(9))]
        if way == "tree":
            data = self._spoilt(bodies[which], target, rng)
        elif way == "scalar":
            data = _with_scalar(texts[which], rng).encode("utf-8", "surrogatepass")
        elif way == "bytes":
            data = damaged(texts[which].encode(), rng)
        elif way == "splice":
            other = self._texts["experiment"][int(rng.integers(len(self._texts["experiment"])))]
            data = spliced(texts[which].encode(), other.encode(), rng)
        else:
            data = _document(texts[which], rng)
        return Case(f"{target} {way}", self._reading(target, data))

    def _spoilt(self, body: Any, target: str, rng: Rng) -> bytes:
        changed = spoilt(body, rng, traps=_TRAPS)
        if target == "record":
            try:
                return json.dumps(changed).encode()
            except (TypeError, ValueError):
                changed = spoilt(body, rng)
                return json.dumps(changed).encode()
        return yaml.safe_dump(changed, allow_unicode=bool(rng.random() < 0.5), sort_keys=False).encode()

    def _reading(self, target: str, data: bytes) -> Callable[[], object]:
        if target == "record":
            path = self._folder / "run.json"
            path.write_bytes(data)
            return lambda: parse_config(
                ExperimentConfig, read_json(path, what="the record of the run").get("experiment"), where="run.json"
            )
        path = self._folder / ("cohort.yaml" if target == "cohort" else "given.yaml")
        path.write_bytes(data)
        if target == "cohort":
            return lambda: read_cohort_folder(self._folder)
        if target == "profiles":
            return lambda: load_profiles(path).for_scans({})
        return lambda: _endpoint(path) if target == "endpoint" else _experiment(path)


def _experiment(path: Path) -> object:
    """What ``crlm run`` checks before any work starts."""
    experiment = load_experiment(path, jobs=1, dask=None)
    choose_endpoints(experiment)
    if isinstance(experiment.cohort, SimulatedSource):
        parse_config(SimulationConfig, experiment.cohort.settings, where=experiment.name)
    load_profiles().for_scans(experiment.profiles)
    return experiment


def _endpoint(path: Path) -> object:
    endpoint = load_config(EndpointConfig, path)
    return build_outcome(_PATIENTS, endpoint, "fuzzed")


_PATIENTS = pd.DataFrame({"patient_id": ["A", "B"]})
_NOTES = """\
name: A cohort
citation: "Somebody, 2020"
available_at: {cea_ng_ml: restaging}
ignore_columns: [remarks, free_text]
units: {largest_met_mm: cm}
date_format: "%d.%m.%Y"
"""


def _with_scalar(text: str, rng: Rng) -> str:
    """A value of the text is replaced by something that YAML reads in its own way."""
    lines = text.split("\n")
    places = [k for k, line in enumerate(lines) if ":" in line]
    for _ in range(int(rng.integers(1, 3))):
        at = places[int(rng.integers(len(places)))] if places else 0
        head, mark, _ = lines[at].partition(":")
        lines[at] = head + mark + " " + _SCALARS[int(rng.integers(len(_SCALARS)))]
    return "\n".join(lines)


def _document(text: str, rng: Rng) -> bytes:
    how = int(rng.integers(6))
    if how == 0:
        return text.encode("utf-16")
    if how == 1:
        return b"\xef\xbb\xbf" + text.encode()
    if how == 2:
        return (text + text).encode()
    if how == 3:
        return text.replace("  ", "\t").encode()
    extra = _DOCUMENTS[int(rng.integers(len(_DOCUMENTS)))]()
    return (extra if how == 4 else text + "\n" + extra).encode()
