"""Any amount of data through an artifact, with every row accounted for."""
