"""The platforms: the code that Kubeflow and Vertex AI share, and a package for each."""
