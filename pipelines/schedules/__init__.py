"""Schedules as code: compare the schedules of the file with those on the platform, then apply the changes."""
