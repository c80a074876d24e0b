"""KFP component `resolve_config`."""
