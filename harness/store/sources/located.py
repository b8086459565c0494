"""Any source that a plan has located: what a trial's ``spec.json`` maps its content id to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.store.sources.benchmark_data import Data
from harness.store.sources.models import Model
from harness.store.sources.questions import Questions

Located = Annotated[Model | Questions | Data, Field(discriminator="kind")]
