"""Steps from a model to a cheaper model, each `step(model, data) -> Result`."""
