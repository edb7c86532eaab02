"""Training: settings, losses, the trainer, checkpoints, several processes, and the run that is left behind."""
