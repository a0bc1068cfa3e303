"""What a scenario says and the result of it: the two models that everything else passes around.

Scenario side: strict, unknown keys are errors. Result side: plain data, fit for JSON.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from popbox.scenario.fields import Addresses, OneOrSeveral, Table
from popbox.scenario.steps import Step

Statement = Annotated[str, Field(pattern=r"^H-([1-9]|[12][0-9]|3[0-6])$")]


class Mailbox(Table):
    """A mailbox to declare: the keys are those of accounts.toml, and a password that popbox makes a hash of."""

    login: str | None = Field(default=None, pattern=r"^[^:\s]+$")
    crypt: str | None = Field(default=None, pattern=r"^[^:\s]+$", description="a crypt(3) hash")
    password: SecretStr | None = Field(default=None, min_length=1, max_length=512, description="instead of crypt")
    extensions: bool = Field(default=False, description="joe-anything too")

    @field_validator("password")
    @classmethod
    def _in_a_line(cls, password: SecretStr | None) -> SecretStr | None:
        if password and not password.get_secret_value().isprintable():
            raise ValueError("a password is one line of printable characters")
        return password

    @model_validator(mode="after")
    def _one_password(self) -> Mailbox:
        if (self.crypt is None) == (self.password is None):
            raise ValueError("give 'crypt' or 'password', and one of them only")
        return self


class Domain(Table):
    """A domain to declare; the keys are those of accounts.toml."""

    catchall: str | None = Field(default=None, description="mailbox or forward that takes all other addresses")
    mailboxes: dict[str, Mailbox] = Field(default_factory=dict)
    forwards: dict[str, Addresses] = Field(default_factory=dict, description="local part -> addresses")


class Accounts(Table):
    """What must be declared before the first step."""

    domains: dict[str, Domain] = Field(default_factory=dict)


class Needs(Table):
    """What a scenario cannot do without; where it is missing, the scenario is skipped with the reason."""

    host: Annotated[list[Literal["local", "docker", "remote"]], OneOrSeveral()] | None = None
    mta: Annotated[list[Literal["qmail", "standin"]], OneOrSeveral()] | None = None
    chain: bool = Field(default=False, description="it runs popup | checkpoppasswd | pop3d on the mail host")
    own_host: bool = Field(default=False, alias="own-host", description="it changes what others would see")
    own_disk: bool = Field(
        default=False, alias="own-disk", description="a host of its own, with queue and popboxes on small file systems"
    )

    @model_validator(mode="before")
    @classmethod
    def _disk_means_host(cls, data: Any) -> Any:
        return {**data, "own-host": True} if isinstance(data, dict) and data.get("own-disk") is True else data


class Scenario(Table):
    """One behaviour, proved by steps in order."""

    title: str = Field(min_length=1, max_length=120)
    proves: Annotated[list[Statement], OneOrSeveral()] = Field(
        default_factory=list, description="statements of the HOWTO that it proves"
    )
    needs: Needs = Needs()
    accounts: Accounts = Accounts()
    step: list[Step] = Field(min_length=1)
