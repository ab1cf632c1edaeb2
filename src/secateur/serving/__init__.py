"""An artifact to try in a browser."""
