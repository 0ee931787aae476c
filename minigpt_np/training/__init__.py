"""Making a model learn: optimizers, batches, workers on every core, a run on disk. Not needed to read the core."""
