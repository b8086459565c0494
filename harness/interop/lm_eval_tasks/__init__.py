"""The benchmarks as tasks of lm-eval: the folder for ``lm_eval --include_path``.

``python -m harness.interop.lm_eval_tasks`` prints where it is. Loaders, prompts and scorers are
ours; see ``docs/lm_eval.md``.
"""
