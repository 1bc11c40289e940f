"""A whole study: all stages of an experiment in order, with one account of every patient."""
