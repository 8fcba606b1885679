"""Data in: sources and formats, brought into form, checked, split and written as data sets."""
