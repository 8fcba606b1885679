"""Bytes from https:// and gs:// addresses: whole, checked, resumed where a transfer broke off. Knows no formats."""
