"""Measurements of speed and memory: ratios taken side by side in one run, committed with their output (see README.md)."""
