"""One table of the speed of everything beside its peers, on the same work, in the same run.

    python benchmarks/table.py [--to docs/benchmarks.md] [--quick] [--areas extraction,rules]
        [--data FOLDER] [--peers FOLDER]

Each row times both sides in turn, several rounds, and refuses sides that do not compute the same. ``--quick`` makes few
and small cases. Peers that need an environment of their own get one below ``--peers``, once. If values differ the page
says so and the exit code is 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import bundle
import evaluating
import extraction
import reading
import rules
import scoring
import training
from measuring import HEAD, Entry, Given, Results, cells, markdown, named

ROOT = Path(__file__).resolve().parents[1]
AREAS: dict[str, Callable[[Given], Iterator[Entry]]] = {
    "extraction": extraction.entries,
    "reading": reading.entries,
    "rules": rules.entries,
    "training": training.entries,
    "evaluation": evaluating.entries,
    "scoring": scoring.entries,
    "bundle": bundle.entries,
}
LIBRARIES = ("radiomics-crlm", "numpy", "scipy", "pandas", "scikit-learn", "numba", "SimpleITK", "xgboost-cpu")
PAGE = """# Benchmarks

Written by `make bench`. Each row does the same work twice, here and with a peer, in turn and in one run; times are
medians of the rounds. "peer / ours" is the ratio of the medians, with its range over the rounds: above 1 we are
faster, and where we are not the row says so. A row stands here only if the values of both agree within what is
demanded of them; "equal to" is the largest relative difference. Peak memory is that of a process that does nothing
else, libraries included. Extraction: original, wavelet (coif1) and LoG (1, 2, 3 mm) images, 1 mm grid, bin width 25,
from uncompressed files, unless the row says otherwise. Real data are named; all else is simulated, with fixed seeds.

{rows}

## Figures without a peer

{figures}

## Not in the table

{absent}

{refused}## Machine

{machine}
"""


def machine() -> list[tuple[str, str]]:
    """What this ran on."""
    return [
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("libraries", named(*LIBRARIES)),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """Commit of the checkout, and whether files differ from it."""
    asked = (["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
    head, changed = (subprocess.run(a, cwd=ROOT, capture_output=True, text=True, check=False).stdout for a in asked)
    return (head.strip() or "unknown") + (" with changes" if changed.strip() else "")


def page(found: Results, areas: str, quick: bool, began: tuple[float, float], seconds: float) -> str:
    """The page; ``began`` is the time and the load of the machine at the start."""
    facts = [
        ("command", "`python benchmarks/table.py" + " --quick" * quick + f" --areas {areas}`"),
        *machine(),
        ("load at start and end", f"{began[1]:.1f}, {os.getloadavg()[0]:.1f}"),
        ("date", f"{datetime.fromtimestamp(began[0], UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.0f} minutes"),
        ("commit", commit()),
    ]
    figures = [[one.area, one.what, one.value, one.target] for one in found.figures]
    absent = [[one.area, one.what, one.reason] for one in found.absent]
    refused = "".join(f"- {one}\n" for one in found.unequal)
    return PAGE.format(
        refused=f"## Refused, as the values differ\n\n{refused}\n" if refused else "",
        rows=markdown(HEAD, [cells(row) for row in found.rows]),
        figures=markdown(("area", "figure", "measured", "aimed at"), figures),
        absent=markdown(("area", "what", "why"), absent),
        machine=markdown(("", ""), [list(fact) for fact in facts]),
    )


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, help="file of the page; printed otherwise")
    parser.add_argument("--quick", action="store_true", help="few and small cases")
    parser.add_argument("--areas", default=",".join(AREAS), help="of " + ", ".join(AREAS))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the real data")
    parser.add_argument("--peers", type=Path, default=ROOT / "out" / "peers", help="environments of peers")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    began, found = (time.time(), os.getloadavg()[0]), Results()
    with tempfile.TemporaryDirectory() as folder:
        for area in asked.areas.split(","):
            own = Path(folder) / area
            own.mkdir()
            entries = AREAS[area](Given(own, asked.data, asked.peers, asked.quick))
            found.add(entries, lambda line: print(line, flush=True))
    text = page(found, asked.areas, asked.quick, began, time.time() - began[0])
    if asked.to is None:
        print("", text, sep="\n")
    else:
        asked.to.write_text(text, encoding="utf-8")
    return 1 if found.unequal else 0


if __name__ == "__main__":
    sys.exit(main())
