"""KFP component `train_distributed`."""
