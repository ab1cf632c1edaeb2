"""The main job: from a recipe to a smaller, faster, measured model."""
