"""Where a pipeline runs elsewhere: what Kubeflow and Vertex AI have in common, and a package for each."""
