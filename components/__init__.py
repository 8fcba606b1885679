"""The pipeline's components: one module per step, and the library `components.mnist` that does the work."""

STEPS_IMAGE = "mnist-python-steps"
TRAINER_IMAGE = "mnist-python-trainer"
