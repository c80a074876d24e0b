"""Kubeflow Pipelines on a cluster: its server, runs and schedules."""
