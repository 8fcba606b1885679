"""What runs inside the steps: one page per step, and the library `components.mnist` that does the work."""

STEPS_IMAGE = "mnist-python-steps"
TRAINER_IMAGE = "mnist-python-trainer"
