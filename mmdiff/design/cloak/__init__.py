"""A mechanical cloak of cells: model, choice of cells, checks, report."""
