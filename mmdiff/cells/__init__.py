"""Geometry of unit cells: symmetry, voxels, walls, meshes, lattices."""
