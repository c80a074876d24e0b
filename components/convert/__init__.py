"""KFP component `convert`."""
