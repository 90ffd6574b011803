"""Networks (Flax Linen) and their weights files."""
