"""Decision tables: rows tested in order, and criteria that must all hold, in three-valued logic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from radiomics_crlm.clinical.catalogue import Rule, clauses
from radiomics_crlm.clinical.conditions import compare
from radiomics_crlm.clinical.facts import Facts, any_of, falls_in, is_met
from radiomics_crlm.clinical.result import OK, RuleResult, unknown


def steps(rule: Rule, facts: Facts) -> RuleResult:
    """The first row that holds; a row that is open stops the table and names the inputs it waits for.

    With ``all_inputs_needed`` every input must be known, even where a row would decide without it.
    """
    if rule.body.get("all_inputs_needed") and (missing := facts.missing(rule.inputs)):
        return unknown(missing)
    for row in rule.body["rows"]:
        alternatives = clauses(row)
        state = facts.state(alternatives) if alternatives else True
        if state is None:
            needed = {test.name for tests in alternatives for test in tests}
            return unknown(facts.missing(name for name in rule.inputs if name in needed))
        if state:
            gives = row.get("gives", {})
            boundary = tuple(_disputed(rule.body["rows"], facts))
            return RuleResult(OK, group=row["group"], value=row.get("value"), boundary=boundary, extra=gives)
    raise AssertionError(f"the table of {rule.id} has no last row")


def item_states(rule: Rule, facts: Facts, given: Mapping[str, bool | None]) -> dict[str, bool | None]:
    """State of each item of a rule, by its key; ``given`` settles the items that need a formula."""
    return {
        item["key"]: given[item["key"]] if item["key"] in given else _item_state(item, facts)
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
    states = item_states(rule, facts, given or {})
    failed = [key for key, state in states.items() if state is False]
    waiting = [key for key, state in states.items() if state is None]
    extra: dict[str, Any] = {}
    if rule.body.get("present"):
        extra["present"] = [key for key, state in states.items() if state]
    boundary = tuple(_disputed(rule.body["items"], facts))
    if waiting and not failed:
        named = facts.missing(rule.inputs) if rule.body.get("missing") == "inputs" else waiting
        return unknown(named, **extra)
    return RuleResult(OK, boundary=boundary, extra={"met": not failed, "failed": failed, **extra})


def _disputed(entries: Any, facts: Facts) -> Iterator[str]:
    """Inputs exactly on a bound on which sources disagree."""
    seen = set()
    for entry in entries:
        for name, bound in entry.get("disputed", {}).items():
            number = facts[name]
            on_bound = number is not None and compare(number, ">=", bound) and compare(number, "<=", bound)
            if on_bound and name not in seen:
                seen.add(name)
                yield name
