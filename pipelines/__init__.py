"""What runs on the user's machine: the pipeline's definition, its compilation and submission, the `mnist` command."""
