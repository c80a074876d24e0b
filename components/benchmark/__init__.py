"""KFP component `benchmark`."""
