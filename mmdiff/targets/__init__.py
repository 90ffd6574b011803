"""What is asked of a cell: quantities, tensors, tables, feasibility."""
