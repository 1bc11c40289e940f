"""Hostile inputs for every reader of the program, made from a number, and the account of what became of them.

``damage`` and ``trees`` spoil bytes and nested values; ``images``, ``tables``, ``configs`` and ``bundles`` make the
inputs of one reader each from sound ones; ``campaign`` reads them, measures, and runs many in processes of their own.
An input is reproduced from the name of its reader and its number.
"""
