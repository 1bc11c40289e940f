"""Every metric and estimator against independent implementations, as a table.

    python benchmarks/oracle_table.py > docs/oracles.md

Runs the comparisons of tests/oracle in their full form; one process, some minutes. Ends with 1 if one of them fails.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(_TESTS))

from oracle_comparison import DATA_SETS, RECORDS, Record  # noqa: E402
from oracle_inventory import comparisons, page  # noqa: E402


class _Collector:
    """Plugin of pytest: keeps what was measured, names what failed, and says how far it is."""

    def __init__(self) -> None:
        self.measured: dict[str, Record] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if _wanted(item) == DATA_SETS]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        if report.when == "call":
            print(f"{report.duration:6.1f} s {report.nodeid}", file=sys.stderr, flush=True)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for record in session.config.stash.get(RECORDS, []):
            # Of a test with several settings the largest difference.
            known = self.measured.get(record.test, record)
            self.measured[record.test] = max(known, record, key=lambda r: r.largest)


def _wanted(item: pytest.Item) -> int:
    """Data sets of a comparison; 0 if it is none."""
    callspec = getattr(item, "callspec", None)
    return callspec.params["compare"][1] if callspec is not None and "compare" in callspec.params else 0


def main() -> int:
    """Print the page."""
    collector = _Collector()
    files = sorted({str(_TESTS / "oracle" / name.partition("::")[0]) for name in comparisons()})
    # The settings of the project, but slow forms as well, and no report on the screen.
    options = ["-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(sys.stderr):
        pytest.main([*options, *files], plugins=[collector])
    if collector.failed:
        sys.stderr.write("failed: " + ", ".join(collector.failed) + "\n")
        return 1
    sys.stdout.write(page(collector.measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
