"""Schedules as code: what the file desires is compared with what exists on the platform, then applied."""
