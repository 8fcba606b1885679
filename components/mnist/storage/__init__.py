"""Bytes from https:// and gs:// addresses: complete, checked, resumed where a transfer broke off. Knows no formats."""
