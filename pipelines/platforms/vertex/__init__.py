"""Vertex AI Pipelines: its API, its schedules, and checks of the Google Cloud project."""
