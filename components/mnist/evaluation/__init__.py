"""The quality of a model on test data: metrics and results."""
