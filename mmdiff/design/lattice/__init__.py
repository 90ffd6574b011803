"""Named lattices and minimal surfaces, homogenized and graded."""
