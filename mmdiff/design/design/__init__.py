"""Design for an objective or load cases of a user."""
