"""How good predictions are: discrimination, calibration, incidence, paired comparison. Sees tables only."""
