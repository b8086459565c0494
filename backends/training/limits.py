"""When a training that goes wrong is ended."""

from __future__ import annotations

#: A training whose steps are refused so many times in a row will not recover.
MAX_SKIPPED_IN_A_ROW = 3
