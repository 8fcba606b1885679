"""Kubeflow Pipelines: its API, its ways to sign in, its schedules."""
