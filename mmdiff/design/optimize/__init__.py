"""Inverse homogenization: problem, starts, runs, ranking, report."""
