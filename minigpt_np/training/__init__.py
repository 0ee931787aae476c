"""Training: optimizers, batches, workers, checkpoints. The core does not need it."""
