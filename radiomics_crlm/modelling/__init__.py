"""Transformers, learners, nested resampling, and fitted pipelines as plain numbers. Sees tables only."""
