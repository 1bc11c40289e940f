"""Where results come from and how they reach the disk: hashes, atomic writes, checked tables, the run manifest,
tracking.
"""
