"""Convert sources of many formats to checked, split data sets of one format."""
