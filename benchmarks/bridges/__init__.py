"""Benchmarks of other toolkits, asked and judged by their own definitions."""

#: What the name of a benchmark that is an lm-eval task begins with: the task follows.
LM_EVAL = "lm_eval:"
