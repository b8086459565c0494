"""Engines turn questions into responses: for rollouts, synthesis, judges and benchmarks alike."""
