"""The code on the user's machine: the pipeline's definition, compilation and submission, and the `mnist` command."""
