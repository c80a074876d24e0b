"""KFP component `convert_share`."""
