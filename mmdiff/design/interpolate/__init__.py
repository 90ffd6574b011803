"""Paths and families of cells between two."""
