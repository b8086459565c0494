"""What a model is asked, and who judges its answers: benchmarks, scorers, answer equivalence."""
