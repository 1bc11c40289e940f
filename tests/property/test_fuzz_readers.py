"""Hostile inputs of every reader: each is read or clearly refused, within a second and 200 MiB, and nothing is printed.

The campaign of 100,000 inputs is ``benchmarks/fuzz.py``; here are the first ones of each reader.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from fuzz.campaign import MAX_SECONDS, NAMES, Case, case_of, here, make_reader, run, try_one

from radiomics_crlm.errors import ConfigError

FEWEST_REASONS = {"dicom": 8, "nifti": 3, "table": 8, "yaml": 3, "bundle": 8}


@pytest.mark.parametrize("name", NAMES)
def test_first_inputs(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    account = here(name, range(100))
    assert [fault for fault in account.faults if not fault.fault.startswith("slow")] == []
    assert account.accepted + account.refused == account.inputs == 100
    assert account.accepted >= 2
    assert len(account.reasons) >= FEWEST_REASONS[name], account.reasons  # the inputs reach many of the checks
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_1000_inputs_in_worker_processes(name: str, tmp_path: Path) -> None:
    found = list(run(name, range(100, 1100), tmp_path))
    assert [result for result in found if result.fault] == []
    assert [result.number for result in found] == list(range(100, 1100))


def test_an_input_is_made_again_from_its_number(tmp_path: Path) -> None:
    made = [make_reader("nifti", tmp_path / str(k)) for k in range(2)]
    for number in (3, 4, 3):
        kinds = {case_of(one, "nifti", number).kind for one in made}
        files = [{p.name: p.read_bytes() for p in (tmp_path / str(k) / "nifti").iterdir()} for k in range(2)]
        assert len(kinds) == 1
        assert files[0] == files[1]


class Faulty:
    """A reader with a fault."""

    def __init__(self, how: str) -> None:
        self.how = how

    def case(self, rng: np.random.Generator) -> Case:
        assert rng is not None
        return Case("fault", lambda: getattr(self, self.how)(), ("Secret",))

    def unhandled(self) -> None:
        raise ZeroDivisionError

    def indiscreet(self) -> None:
        raise ConfigError("the cell Secret is wrong")

    def slow(self) -> int:
        until, rounds = time.process_time() + 1.1 * MAX_SECONDS, 0
        while time.process_time() < until:
            rounds += 1
        return rounds

    def large(self) -> int:
        return len(bytearray(250 << 20))

    def sound(self) -> None:
        raise ConfigError("it is wrong")


@pytest.mark.parametrize("how", ["unhandled", "indiscreet", "slow", "large", "sound"])
def test_faults_are_found(how: str, tmp_path: Path) -> None:
    result = try_one(Faulty(how), "yaml", 0, tmp_path)
    assert result.fault.startswith("" if how == "sound" else how)
    assert bool(result.fault) == (how != "sound")
