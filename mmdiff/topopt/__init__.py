"""Inverse homogenization: topology optimization of cubic cells."""
