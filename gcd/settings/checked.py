"""
The tables as pydantic checks them: a model of each, made of its fields.

In an annotation the name of a table means its model, and the other names are those of `gcd.settings.forms`. What passes
is handed over as the table itself: nobody else has to do with models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_type_hints

from msgspec import NODEFAULT
from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, create_model, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gcd.settings import forms, tables
from gcd.settings.model import ENV_BELOW, ENV_PREFIX, Accepted, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T", bound=tables.Table)
M = TypeVar("M", bound=BaseModel)


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    made_of: ClassVar[type[tables.Table]]

    @model_validator(mode="wrap")
    @classmethod
    def _handed_over(cls, said: object, check: ModelWrapValidatorHandler[BaseModel]) -> Any:  # noqa: ANN401 - a table
        return _table(cls.made_of, check(said))


class _Layered(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_BELOW,
        env_ignore_empty=True,
        extra="forbid",
        validate_default=False,  # the default of a table is the table, not its model
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed over, already layered: whoever did that alone knows the origin of each value."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def checked(values: Mapping[str, Any]) -> Settings:
    """The settings of which `values` are said. Raises pydantic's `ValidationError`."""
    return _table(Settings, MODEL(**values))


def _table(kind: type[T], model: BaseModel) -> T:
    """The table of what was said in `model`; of the rest it has its own defaults."""
    return kind(**{name: getattr(model, name) for name in model.model_fields_set})


def _model(table: type[tables.Table], base: type[M], types: Mapping[str, Any]) -> type[M]:
    """The model of `table`, in whose annotations names mean `types`. Defaults are left to the table."""
    hints = get_type_hints(table, localns=dict(types), include_extras=True)
    names, defaults = table.__struct_fields__, table.__struct_defaults__  # only the last ones may have one
    without = (NODEFAULT,) * (len(names) - len(defaults))
    fields: dict[str, Any] = {
        name: (hints[name], Field() if default is NODEFAULT else Field(default=None))
        for name, default in zip(names, (*without, *defaults), strict=True)
    }
    return create_model(table.__name__, __base__=base, **fields)


def _model_of_all() -> type[_Layered]:
    names = dict(vars(forms))
    for table in (
        Accepted,
        tables.WindowTable,
        tables.PolicyTable,
        tables.ProtectTable,
        tables.QuarantineTable,
        tables.HooksTable,
        tables.DaemonTable,
        tables.ScrubTable,
        tables.WebTable,
    ):
        made = _model(table, _Checked, names)
        made.made_of = table
        names[table.__name__] = made
    return _model(Settings, _Layered, names)


MODEL = _model_of_all()
"""The model of the settings."""
