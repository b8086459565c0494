"""Print the folder, for ``lm_eval --include_path $(python -m harness.interop.lm_eval_tasks)``."""

from pathlib import Path

print(Path(__file__).parent)
