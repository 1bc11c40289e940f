"""Decision tables: rows tested in order, and criteria that must all hold, in three-valued logic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from radiomics_crlm.clinical.catalogue import Rule, clauses
from radiomics_crlm.clinical.conditions import Condition, is_on
from radiomics_crlm.clinical.facts import Facts, any_of, falls_in, is_met
from radiomics_crlm.clinical.result import OK, RuleResult, unknown
from radiomics_crlm.errors import ConfigError


def steps(rule: Rule, facts: Facts) -> RuleResult:
    """The first row that holds; a row that is open stops the table and names the inputs it waits for."""
    for row in rule.body["rows"]:
        alternatives = clauses(row)
        state = facts.state(alternatives) if alternatives else True
        if state is None:
            needed = {test.name for tests in alternatives for test in tests}
            return unknown(facts.missing(name for name in rule.inputs if name in needed))
        if state:
            gives = dict(row.get("gives", {}))
            boundary = disputed_inputs(rule.body["rows"], facts)
            return RuleResult(OK, group=row["group"], value=row.get("value"), boundary=boundary, extra=gives)
    raise ConfigError("a table of steps has no last row without a condition", where=rule.id)


def tests_of(entry: Mapping[str, Any]) -> tuple[tuple[Condition, ...], ...]:
    """Alternatives of conditions of an item or row; none if it has no condition of its own."""
    return clauses(entry) if "when" in entry or "any" in entry else ()


def item_states(rule: Rule, facts: Facts, given: Mapping[str, bool | None] | None = None) -> dict[str, bool | None]:
    """State of each item of a rule, by its key; ``given`` settles the items that need a formula."""
    settled = given or {}
    return {
        item["key"]: settled[item["key"]] if item["key"] in settled else _item_state(item, facts)
        for item in rule.body["items"]
    }


def _item_state(item: Mapping[str, Any], facts: Facts) -> bool | None:
    states: list[bool | None] = []
    if "when" in item or "any" in item:
        states.append(facts.state(clauses(item)))
    if "rule" in item:
        result = facts.result(item["rule"])
        states.append(falls_in(result, item["groups"]) if "groups" in item else is_met(result))
    return any_of(states)


def criteria(rule: Rule, facts: Facts, given: Mapping[str, bool | None] | None = None) -> RuleResult:
    """All items must hold: one known failure decides, otherwise one unknown leaves it open.

    ``failed`` and ``missing`` list item keys in the order of the rule (``missing`` the inputs, where the rule says so).
    """
    states = item_states(rule, facts, given)
    failed = [key for key, state in states.items() if state is False]
    waiting = [key for key, state in states.items() if state is None]
    extra: dict[str, Any] = {}
    if rule.body.get("present"):
        extra["present"] = [key for key, state in states.items() if state]
    boundary = disputed_inputs(rule.body["items"], facts)
    if waiting and not failed:
        named = facts.missing(rule.inputs) if rule.body.get("missing") == "inputs" else waiting
        return unknown(named, **extra)
    return RuleResult(OK, boundary=boundary, extra={"met": not failed, "failed": failed, **extra})


def disputed_inputs(entries: Iterable[Mapping[str, Any]], facts: Facts) -> tuple[str, ...]:
    """Inputs exactly on a bound on which sources disagree."""
    marked = (pair for entry in entries for pair in entry.get("disputed", {}).items())
    known = ((name, facts[name], bound) for name, bound in marked)
    return tuple(dict.fromkeys(name for name, number, bound in known if number is not None and is_on(number, bound)))
