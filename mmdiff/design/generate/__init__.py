"""Cells for a target tensor: sample, check, refine, report."""
