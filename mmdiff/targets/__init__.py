"""Targets: quantities of a cubic tensor, texts and tables of them, feasibility."""
