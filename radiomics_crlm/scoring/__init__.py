"""Using a model: the safe bundle, batch scoring of new cohorts, and the warnings that go with each patient."""
