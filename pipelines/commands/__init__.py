"""The commands of `mnist`, one module each."""
