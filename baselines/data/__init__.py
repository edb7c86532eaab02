"""From rows of a dataset, or queries, to batches of tensors: reading, head crops, augmentation, loading."""
