"""KFP component `evaluate`."""
