"""Downloads from https:// and gs:// addresses: complete, verified and resumable. Knows no formats."""
