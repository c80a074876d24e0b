"""Pipelines and single components, executed on this machine."""
