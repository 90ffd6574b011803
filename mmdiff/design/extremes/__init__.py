"""Extreme cells from generated, random and textbook starts."""
