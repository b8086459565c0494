"""Print the folder, for ``lm_eval --include_path $(python -m harness.lm_eval_tasks)``."""

from pathlib import Path

print(Path(__file__).parent)
