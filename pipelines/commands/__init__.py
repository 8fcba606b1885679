"""The commands of `mnist`, a module for each."""
