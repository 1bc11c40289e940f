"""Does the answer of a study find what is there, and nothing where nothing is?

    python benchmarks/simulated_truth.py [--number 100] [--fewer 40]

Prints the section of docs/self_tests.md on simulated truth. One process; minutes. The same numbers are checked by
`make test-slow` (tests/property/test_simulated_truth.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from truth_studies import EFFECT, FEWER, FOLDS, PATIENTS, REPEATS, REPLICATES, studies

_HEAD = f"""
## Simulated truth: does radiomics add anything?

Tables of {PATIENTS} patients: five clinical columns that matter, and 24 radiomic ones in three correlated blocks, of
size (known from the chart), of texture and of nothing. Ridge models in {REPEATS} x {FOLDS}-fold nested
cross-validation, answered as a study answers its question (`evaluation.answer`, corrected resampled t interval). The
texture has a log hazard ratio of {EFFECT:g} per standard deviation, or none. Demanded: with the effect, an interval of
the difference above 0; without it, no evidence that radiomics helps in at least 95 of 100 studies. Columns of nothing
harm a model a little, so an interval below 0 may be the truth; the sentence then says both, no evidence that it helps
and evidence that it harms. Simulations: `tests/truth_studies.py`, seeds 0, 1, ... The last column counts studies in
which radiomics of other patients seemed to help.

| outcome and truth | studies | clinical | combined | difference | width | helps | no evidence | harms | control helps |
|---|---|---|---|---|---|---|---|---|---|"""


def section(number: int = REPLICATES, fewer: int = FEWER) -> None:
    """Print the section; ``fewer`` studies of the binary endpoint."""
    print(_HEAD)
    for effect, truth in ((EFFECT, "texture matters"), (0.0, "no effect")):
        print(studies(f"C, time to recurrence: {truth}", effect, number=number, control=bool(effect)).line())
    for effect, truth in ((EFFECT, "texture matters"), (0.0, "no effect")):
        print(studies(f"AUC, recurrence by 24 months: {truth}", effect, number=fewer, kind="binary").line())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--number", type=int, default=REPLICATES, help="studies of the time to recurrence")
    parser.add_argument("--fewer", type=int, default=FEWER, help="studies of recurrence by 24 months")
    section(**vars(parser.parse_args()))
