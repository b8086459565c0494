"""Executors place trials: each starts ``python -m harness.trial <folder>/spec.json`` somewhere."""
