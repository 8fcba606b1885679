"""Schedules as code: planned by comparing the file with the platform, then applied."""
