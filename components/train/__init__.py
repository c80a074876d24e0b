"""KFP component `train`."""
