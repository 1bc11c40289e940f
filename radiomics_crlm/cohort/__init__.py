"""From a cohort folder or a public collection to clean clinical rows, endpoints, folds and an account of everyone
left out.
"""
