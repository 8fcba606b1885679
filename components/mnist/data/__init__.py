"""From sources in many formats to checked, split data sets of one format."""
