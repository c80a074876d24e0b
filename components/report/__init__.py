"""KFP component `report`."""
