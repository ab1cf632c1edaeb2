"""The recipe: what a run is asked to do, in YAML."""
