"""Cells as files for print and CAE: block, mesh check, decimation, report."""
