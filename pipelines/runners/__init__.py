"""Runners: they run a pipeline on this machine, behind one signature.

`run(pipeline, arguments, *, run, display)` runs it to its end in the run's folder and raises `StepError`.
"""
