"""A piece of configuration, and what is wrong with one."""

from __future__ import annotations

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Config(BaseModel):
    """A frozen piece of configuration: an unknown key is an error, and so is an infinite number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


#: Of a number: Python takes true for 1, and nobody who writes ``lr: true`` means that.
NUMBER = BeforeValidator(_no_truth)


class SettingError(ValueError):
    """Settings that contradict each other. ``settings`` are those that the message is about, the
    likeliest to blame first, nested ones as ``lora.dropout``."""

    def __init__(self, setting: str, message: str, *others: str) -> None:
        super().__init__(message)
        self.settings = (setting, *others)
