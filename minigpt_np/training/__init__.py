"""Training: optimizers, batches, workers on every core, a run on disk. The core does not need it."""
