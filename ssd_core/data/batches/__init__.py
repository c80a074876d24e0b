"""From shards to training batches: order, augmentation, and threads that run ahead."""
