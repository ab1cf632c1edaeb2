"""Models to start from: loaded from a file, or built to fit the data."""
