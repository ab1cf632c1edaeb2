"""Raw data in, a `Dataset` out: sources, the contract, splits, batches and augmentation."""
