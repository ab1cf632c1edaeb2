"""Which units go: criteria, budgets and the plan. NumPy only."""
