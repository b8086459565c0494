"""Executors place trials: each has ``python -m harness.run.trial <folder>/spec.json`` run
somewhere."""
