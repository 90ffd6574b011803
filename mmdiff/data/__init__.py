"""Datasets of homogenized cells: making, selecting, storing and reading them."""
