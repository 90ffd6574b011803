"""What is known of one voxel cell: tensor, moduli, remarks, report."""
