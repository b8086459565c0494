"""Executors place trials: each starts ``python -m harness.run.trial <folder>/spec.json``
somewhere."""
