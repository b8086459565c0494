"""TRL's own classes, imported without what this backend does not use of it.

Where mlflow and vLLM are installed TRL imports both: fifteen seconds, and a tracking client in the
trainer. They are hidden while it is imported, and what it still uses of older libraries is not for
the reader of our logs to mend.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unwarned() -> Iterator[None]:
    """Without warnings about TRL's own use of its libraries."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        yield


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    there = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(there)


with _hidden("mlflow", "vllm"), unwarned():
    from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

__all__ = ["GRPOConfig", "GRPOTrainer", "SFTConfig", "SFTTrainer", "unwarned"]
