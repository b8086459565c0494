"""Contract tests that a package's own test suite subclasses: see docs/add_a_benchmark.md."""

import pytest

pytest.register_assert_rewrite("benchmarks.testing.contracts")
