"""What a model is worth on the test data: metrics and results."""
