"""Contract tests for authors of executors and trackers: pytest classes to subclass."""
