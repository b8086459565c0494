"""A piece of configuration, and what is wrong with one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen piece of configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SettingError(ValueError):
    """Settings that contradict each other. ``settings`` are those that the message is about, the
    likeliest to blame first, nested ones as ``lora.dropout``."""

    def __init__(self, setting: str, message: str, *others: str) -> None:
        super().__init__(message)
        self.settings = (setting, *others)
