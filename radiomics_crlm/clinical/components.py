"""What a result is made of: each item of a score or of a list of criteria, with what is unknown in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from radiomics_crlm.clinical import additive, decisions
from radiomics_crlm.clinical.catalogue import Rule, item_lines, rule
from radiomics_crlm.clinical.derivation import Prepared, prepare
from radiomics_crlm.clinical.engine import encode_cells, facts_of
from radiomics_crlm.clinical.facts import Facts
from radiomics_crlm.clinical.transplantation import cea_state


@dataclass(frozen=True)
class Component:
    """One item: ``state`` is True, False or None (open); ``lower`` and ``upper`` are its possible points, if any.

    ``missing`` names the unknown inputs that keep it open.
    """

    text: str
    state: bool | None
    lower: float | None = None
    upper: float | None = None
    missing: tuple[str, ...] = ()


def components(rule_id: str, inputs: Mapping[str, object]) -> tuple[Component, ...]:
    """Items of a rule for one patient; none for a formula, a table of steps, or inputs that contradict each other.

    Raises
    ------
    ConfigError
        If there is no such rule.

    Examples
    --------
    >>> [(item.text, item.state) for item in components("mcs2019", {"largest_met_mm": 60})][-1]
    ('largest_met_mm > 50: 1', True)
    """
    chosen = rule(rule_id)
    prepared = prepare(chosen, encode_cells({name: [inputs.get(name)] for name in chosen.all_inputs}, 1))
    if prepared.reasons[0] is not None:
        return ()
    if chosen.method == "additive":
        return _of_score(chosen, prepared)
    listed = chosen.body.get("items", ())
    if listed and all("key" in item for item in listed):
        return _of_criteria(chosen, facts_of(prepared))
    return ()


def _of_score(chosen: Rule, prepared: Prepared) -> tuple[Component, ...]:
    found = []
    for item, raw in zip(additive.items(chosen.id), chosen.body["items"], strict=True):
        lower, upper = (float(end[0]) for end in item.span(prepared.columns))
        missing = tuple(name for name, mask in item.unknown(prepared.columns).items() if mask[0])
        state = None if missing else lower > 0
        found.append(Component(" / ".join(item_lines(raw)), state, lower, upper, missing))
    return tuple(found)


def _of_criteria(chosen: Rule, facts: Facts) -> tuple[Component, ...]:
    given = {"cea_ng_ml": cea_state(chosen, facts)} if chosen.method == "transmet" else None
    states = decisions.item_states(chosen, facts, given)
    found = []
    for raw in chosen.body.get("items", ()):
        state = states[raw["key"]]
        named = facts.missing(_inputs_of(chosen, raw)) if state is None else ()
        found.append(Component(" / ".join(item_lines(raw)), state, missing=named))
    return tuple(found)


def _inputs_of(chosen: Rule, raw: Mapping[str, object]) -> tuple[str, ...]:
    own = {test.name for tests in decisions.tests_of(raw) for test in tests}
    if "rule" in raw:
        own |= set(rule(str(raw["rule"])).inputs)
    if not own:
        own = {str(raw["key"])}
    return tuple(name for name in chosen.all_inputs if name in own)
