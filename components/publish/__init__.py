"""KFP component `publish`."""
