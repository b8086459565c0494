"""The contracts: stage, resources, backend, reward, engine."""
