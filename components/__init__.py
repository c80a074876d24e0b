"""KFP components, one per stage of `ssd_core`."""
