"""KFP components: doorways to the stages of `ssd_core`."""
