"""Saved answers of owners and other toolkits, and their verdicts in parallel."""
