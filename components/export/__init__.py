"""KFP component `export`."""
