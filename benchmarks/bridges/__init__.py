"""Benchmarks of other toolkits, asked and judged by their own definitions."""
