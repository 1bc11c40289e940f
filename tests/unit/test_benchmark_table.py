"""The machinery of the table of benchmarks; what it measures is never a bound of a test."""

from __future__ import annotations

import itertools
import json
import math
import operator
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import measuring
import peers
from measuring import Absent, Comparison, Figure, Results, Row, Timed, apart


def compared(**changes: object) -> Comparison:
    """Both sides answer 1.0; theirs takes twice as long by its own clock."""
    fields: dict[str, object] = {
        "area": "rules", "case": "a case", "peer": "a peer 1.0", "ours": lambda: Timed(2.0, 1.0),
        "theirs": lambda: Timed(4.0, 1.0), "apart": apart, "warm": False, "repeats": 3,
    }  # fmt: skip
    return Comparison(**fields | changes)  # type: ignore[arg-type]


def test_ratio_is_that_of_the_medians_and_the_range_that_of_the_rounds() -> None:
    row = Row(compared(), [1.0, 2.0, 4.0], [10.0, 30.0, 20.0], 0.0)
    assert row.ratio == 10.0
    assert row.ratios == [10.0, 15.0, 5.0]
    assert measuring.ratio_text(row) == "10 × (5.0–15)"


def test_a_faster_peer_is_said_so() -> None:
    assert measuring.ratio_text(Row(compared(), [4.0], [1.0], 0.0)) == "**slower:** 0.25 × (one round)"


def test_sides_take_turns_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    sides = {name: lambda name=name: calls.append(name) or 0.0 for name in ("ours", "theirs")}
    row = measuring.measure(compared(**sides, warm=True, repeats=2))
    assert calls == ["ours", "theirs"] * 3
    assert len(row.ours) == len(row.theirs) == 2


def test_patience_ends_the_rounds_but_never_before_the_least() -> None:
    assert len(measuring.measure(compared(repeats=9, least=4, patience=0.0)).ours) == 4
    clock = itertools.count(0.0, 1.0)
    assert len(measuring.measure(compared(repeats=9, least=1, patience=3.5), clock=lambda: next(clock)).ours) == 4


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (1.0, 1.0, 0.0),
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        (np.array([0.0, np.nan]), np.array([0.0, np.nan]), 0.0),
        (np.array([0.0, 1.0]), np.array([0.0, np.nan]), math.inf),
        ({"a": {"x": 1.0}, "b": "ok"}, {"a": {"x": 1.25}, "b": "ok"}, 0.2),
        ({"a": 1.0}, {"b": 1.0}, math.inf),
        ([{"a": 1.0}], [{"a": 1.0}, {"a": 1.0}], math.inf),
        (np.zeros(2), np.zeros(3), math.inf),
        (np.array(["ok", None], dtype=object), np.array(["ok", None], dtype=object), 0.0),
        (np.array(["ok"], dtype=object), np.array(["invalid"], dtype=object), math.inf),
        ("ok", "invalid", math.inf),
        (None, 0.0, math.inf),
    ],
)
def test_largest_relative_difference(ours: object, theirs: object, expected: float) -> None:
    assert apart(ours, theirs) == pytest.approx(expected)


def test_unequal_values_are_refused() -> None:
    wrong = compared(theirs=lambda: Timed(4.0, 1.0 + 1e-6), tolerance=1e-9)
    with pytest.raises(measuring.UnequalError, match=r"rules, a case, a peer 1\.0: values differ by 1\.0e-06"):
        measuring.measure(wrong)
    accepted = measuring.measure(compared(theirs=lambda: Timed(4.0, 1.0 + 1e-6), tolerance=1e-5))
    assert accepted.apart == pytest.approx(1e-6, rel=1e-3)


def test_one_unequal_round_of_several_is_refused() -> None:
    answers = iter([1.0, 1.0, 2.0])
    with pytest.raises(measuring.UnequalError):
        measuring.measure(compared(theirs=lambda: Timed(1.0, next(answers))))


def test_nan_of_a_comparison_is_refused() -> None:
    with pytest.raises(measuring.UnequalError):
        measuring.measure(compared(apart=lambda *_: math.nan, tolerance=1.0))


def test_results_keep_rows_figures_absences_and_refusals() -> None:
    found, said = Results(), []
    entries = [
        compared(),
        compared(theirs=lambda: Timed(1.0, 5.0)),
        Absent("rules", "a peer", "it needs R"),
        lambda: Figure("rules", "rate", "5 rows/s"),
    ]
    found.add(iter(entries), said.append)
    assert [len(part) for part in (found.rows, found.unequal, found.absent, found.figures)] == [1, 1, 1, 1]
    assert said[1].startswith("REFUSED rules, a case, a peer 1.0: values differ by 8.0e-01")


def test_cells_and_table() -> None:
    row = Row(compared(note="a | b"), [0.01234, 0.02], [1.5, 1.5], 3e-14, (50 * 2**20, None))
    shown = measuring.cells(row)
    assert shown[3:] == ["16.2 ms", "1.50 s", "93 × (75–122)", "equal to 3e-14", "50 : – MiB", "a | b"]
    lines = measuring.markdown(measuring.HEAD, [shown]).splitlines()
    assert len(lines) == 3
    assert {line.count("|") for line in lines} == {len(measuring.HEAD) + 1}


def test_what_is_not_compared_says_why() -> None:
    row = measuring.measure(compared(apart="not compared: other definitions", theirs=lambda: Timed(1.0, None, 2**20)))
    assert measuring.cells(row)[6:8] == ["not compared: other definitions", "– : 1 MiB"]


def test_peak_memory_is_that_of_a_process_of_its_own() -> None:
    small, large = measuring.peaks_of(
        compared(ours=partial(operator.mul, "x", 1), theirs=partial(operator.mul, "x", 200 * 2**20))
    )
    if small is None or large is None:
        pytest.skip("this system does not tell the peak of memory")
    assert 150 * 2**20 < large - small < 250 * 2**20


def test_a_peer_in_another_process_answers_round_by_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    answer = json.dumps({"seconds": 0.5, "values": {"a": 1.0}, "peak": 7})
    worker.write_text(f"import sys\nfor line in sys.stdin:\n    print('noise')\n    print({answer!r}, flush=True)\n")
    monkeypatch.setattr(peers, "_WORKER", worker)
    remote = peers.Remote(Path(sys.executable), "a peer", tmp_path / "i", tmp_path / "m", full=True)
    assert [remote(), remote()] == [Timed(0.5, {"a": 1.0}, 7)] * 2
    remote.close()
    with pytest.raises(RuntimeError, match="a peer ended with exit code 0"):
        _drained(peers.Remote(Path(sys.executable), "a peer", tmp_path / "i", tmp_path / "m", full=True), worker)


def _drained(remote: peers.Remote, worker: Path) -> Timed:
    worker.write_text("import sys\nsys.stdin.readline()\n")
    try:
        return remote()
    finally:
        remote.close()


def test_a_peer_that_does_not_install_says_why_each_time(tmp_path: Path) -> None:
    peer = peers.Peer("old", ("old==1",), minors=(3,))
    for _ in range(2):
        with pytest.raises(peers.InstallError, match=r"it needs Python 3\.3, and none was found"):
            peers.interpreter(peer, tmp_path)
