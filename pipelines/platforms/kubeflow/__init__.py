"""Kubeflow Pipelines: its API, sign-in methods and schedules."""
