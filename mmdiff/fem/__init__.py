"""Matrix-free finite-element homogenization of voxel cells."""
