"""Runners: each runs a pipeline on this machine, with the same signature.

`run(pipeline, arguments, *, run, display)` runs a pipeline to its end in a run folder, and raises `StepError`.
"""
