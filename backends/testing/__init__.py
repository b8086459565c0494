"""Contract tests for authors of engines and model families: pytest classes to subclass."""
