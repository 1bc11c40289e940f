"""Hostile inputs for every reader: how many are read, how many refused, and what each refusal costs.

    python benchmarks/fuzz.py [--inputs 100000] [--jobs 2] [--readers dicom,nifti,table,yaml,bundle] [--json FILE]
    python benchmarks/fuzz.py --reader dicom --number 123

The first form reads many inputs in worker processes and prints a table; it ends with 1 if anything but a value or a
clear refusal came out. The second makes one input again, reads it and shows the traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from fuzz.campaign import MAX_MIB, MAX_SECONDS, NAMES, Account, case_of, make_reader, run

_KEPT_EVERY = 500
_HEADER = (
    "reader", "inputs", "accepted", "refused", "findings", "slowest refusal, ms", "most memory of a refusal, MiB",
    "different refusals",
)  # fmt: skip


def shares(names: Sequence[str], inputs: int, jobs: int) -> list[tuple[str, range]]:
    """Ranges of numbers, equally many for each reader, in as many pieces as there are processes."""
    each = inputs // len(names)
    size = -(-each // jobs)
    return [(name, range(start, min(start + size, each))) for name in names for start in range(0, each, size)]


def campaign(work: Sequence[tuple[str, range]], jobs: int, keep: Path | None = None) -> dict[str, Account]:
    """Accounts of all readers, written to a file now and then."""
    accounts = {name: Account() for name, _ in work}

    def do(item: tuple[str, range]) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            for result in run(*item, Path(folder)):
                accounts[item[0]].add(result)
                if keep is not None and accounts[item[0]].inputs % _KEPT_EVERY == 0:
                    save(keep, accounts)
                if result.fault:
                    print(
                        f"{result.reader} {result.number} ({result.kind}): {result.fault}", file=sys.stderr, flush=True
                    )

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(do, work))
    if keep is not None:
        save(keep, accounts)
    return accounts


def save(path: Path, accounts: Mapping[str, Account]) -> None:
    """All figures and reasons as JSON."""
    figures = {
        name: {"figures": dict(zip(_HEADER, row(name, a), strict=True)), "reasons": dict(a.reasons.most_common())}
        for name, a in accounts.items()
    }
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def row(name: str, account: Account) -> tuple[str, ...]:
    """Figures of a reader as they are printed."""
    numbers = (account.inputs, account.accepted, account.refused, len(account.faults))
    costs = (f"{1000 * account.slowest:.0f}", f"{account.largest:.0f}", str(len(account.reasons)))
    return (name, *(f"{n:,}" for n in numbers), *costs)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--readers", default=",".join(NAMES))
    parser.add_argument("--json", type=Path, help="write the figures and all reasons here, too")
    parser.add_argument("--reader", choices=NAMES, help="with --number: this one input")
    parser.add_argument("--number", type=int)
    given = parser.parse_args()
    if given.reader is not None and given.number is not None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            case = case_of(make_reader(given.reader, Path(folder)), given.reader, given.number)
            print(f"{given.reader} {given.number}: {case.kind}")
            print(case.read())
        return 0
    accounts = campaign(shares(given.readers.split(","), given.inputs, given.jobs), given.jobs, given.json)
    print("| " + " | ".join(_HEADER) + " |\n|---" + "|---:" * (len(_HEADER) - 1) + "|")
    for name, account in accounts.items():
        print("| " + " | ".join(row(name, account)) + " |")
    print(f"\nLimits of a finding: {MAX_SECONDS:g} s of processor time, {MAX_MIB:g} MiB of memory.")
    return 1 if any(account.faults for account in accounts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
