"""Results by content hash: keys, files, locks, and where models and data come from."""
