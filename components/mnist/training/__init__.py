"""The network, its training, and the export of the trained model."""
