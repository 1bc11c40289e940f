"""Simulated cohorts of colorectal liver metastases with a known truth (``docs/simulation.md``)."""
