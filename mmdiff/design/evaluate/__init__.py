"""Errors, similarity and novelty of generated cells."""
