"""The model as operations, and the units that can be removed from it."""
