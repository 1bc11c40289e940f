"""The command ``crlm doctor``: agreement is printed; a wrong engine is an error."""

from __future__ import annotations

import pytest

from radiomics_crlm.cli.app import run
from radiomics_crlm.features import ibsi_phantom


def test_a_sound_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "all 24 checks agree" in out
    assert "IBSI digital phantom: 99 of 99 supported standardised features within tolerance" in out
    assert "shape_MinorAxisLength (axis_covariance_over_n; agrees when converted)" in out
    assert "firstorder_Kurtosis (kurtosis_not_excess; agrees when converted)" in out


@pytest.mark.parametrize(
    ("feature", "factor", "line"),
    [
        ("glszm_ZoneEntropy", 1.01, "98 of 99 supported"),
        ("firstorder_Kurtosis", 1.01, "firstorder_Kurtosis (kurtosis_not_excess; WRONG)"),
    ],
)
def test_a_wrong_engine_is_an_error(
    feature: str, factor: float, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = ibsi_phantom.extract_scan

    def wrong(*args: object, **options: object) -> object:
        table = sound(*args, **options)
        column = f"lesion__original_{feature}"
        return table.assign(**{column: table[column] * factor})

    monkeypatch.setattr(ibsi_phantom, "extract_scan", wrong)
    assert run(["doctor"]) == 1
    printed = capsys.readouterr()
    assert line in printed.out
    assert "features that disagree with the IBSI consensus" in printed.out
    assert f"IBSI {feature}" in printed.err
