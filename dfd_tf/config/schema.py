"""Base of every configuration schema: frozen, unknown keys refused."""

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
