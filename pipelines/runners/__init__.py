"""Runners: each runs a pipeline on this machine, behind one signature.

`run(pipeline, arguments, *, run, display)` runs it to its end, in the folder of the run, and raises `StepError`.
"""
