"""Contract tests for extensions: classes that a plug-in's own test suite subclasses."""
