"""What leaves the house: exported models in artifacts that can be checked."""
