"""A piece of configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen piece of configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
