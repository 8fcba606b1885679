"""The places where a pipeline runs, behind one signature.

`run(pipeline, arguments, *, run, display)` runs it to its end in the run's folder and raises `StepError`.
"""
