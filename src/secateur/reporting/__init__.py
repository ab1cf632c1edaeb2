"""A run as a page that a person enjoys reading."""
