"""What accounts.toml may say, as a JSON Schema: for editors, and the page accounts.toml(5) is made of it.

`accounts_toml` is the reader, and takes the names of the keys from here. Rules between keys (a catchall that is an
address of its domain, a login that opens one mailbox) are the reader's alone; the descriptions name them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mailhost.accounts import names
from mailhost.accounts.files.login_numbers import POLICIES
from mailhost.accounts.operations.forwards import TRIO

FILE = Path(__file__).with_name("accounts.schema.json")
DIALECT = "http://json-schema.org/draft-07/schema#"  # what editors for TOML read


def accounts_schema() -> dict[str, Any]:
    """The schema of a whole file."""
    top = _table(
        "Accounts of a mail host: `mailhost apply` makes the host what this file says.",
        domains=_many("The domains, by name.", "domain", names.DOMAIN_OCTETS),
        system=_table("The host's own addresses, which belong to no domain.", **dict.fromkeys(TRIO, _ref("targets"))),
        logins=_table(
            "How logins are numbered that the file does not give.",
            policy={
                "enum": list(POLICIES),
                "description": "; ".join(f"`{name}`: {what}" for name, what in POLICIES.items()),
            },
            last={
                "type": "object",
                "propertyNames": {"pattern": "^[a-z]+$"},
                "additionalProperties": {"type": "integer", "minimum": 0},
                "description": "The last number of each stem: none is given twice. `mailhost export` writes it.",
            },
        ),
        removals=_table(
            "What may go from the host without a person who agrees (`mailhost follow`).",
            agreed=_strings(
                "Domains, addresses (`*@domain`, `joe-*@domain` too), system addresses: with all mail.",
                {"type": "string"},
            ),
        ),
    )
    return {"$schema": DIALECT, "title": "accounts.toml", **top, "definitions": _definitions()}


def schema_text() -> str:
    """The schema as it is kept in accounts.schema.json; ``python -m`` this module writes it again."""
    return json.dumps(accounts_schema(), indent=1) + "\n"


def _definitions() -> dict[str, Any]:
    own = {
        "prefix": _string("The prefix of the domain in users/assign. Default: the name with `-` for each dot."),
        "catchall": _string("A mailbox or forward of this domain that gets all other addresses of it."),
        "mailboxes": _many("The mailboxes, by local part.", "mailbox", names.LOCAL_OCTETS),
        "forwards": _many("Addresses that are sent on, by local part.", "targets", names.LOCAL_OCTETS),
    }
    alias = {"alias_of": _string("The domain of which this one is another name. A table with it has no other key.")}
    domain = _table("A domain.", **own, **alias)
    domain["dependencies"] = {"alias_of": {"maxProperties": 1}}
    return {"domain": domain, "mailbox": _mailbox(), "targets": _targets()}


def _mailbox() -> dict[str, Any]:
    box = _table(
        "A mailbox: a directory, an address, a POP3 login.",
        login=_string(
            "The POP3 login. Default: the next number of the policy, or the one that the box has.", names.LOGIN_OCTETS
        ),
        crypt=_string("The password's crypt(3) hash, as `mailhost mkpasswd` prints it."),
        password_file=_string(
            "A file whose first line is the password, relative to this file. Not together with `crypt`."
        ),
        extensions={"type": "boolean", "description": "Take `joe-anything` too. Default: false."},
        delivery={
            "enum": ["maildir", "mbox"],
            "description": "`maildir` (default), or `mbox`: ./Mailbox, which POP3 does not see.",
        },
        aliases=_strings(
            "More local parts of this box.", {"type": "string", "minLength": 1, "maxLength": names.LOCAL_OCTETS}
        ),
    )
    box["not"] = {"required": ["crypt", "password_file"]}
    return box


def _targets() -> dict[str, Any]:
    address = {"type": "string", "maxLength": names.TARGET_OCTETS, "pattern": ".@."}
    return _strings("One or more addresses, here or elsewhere, each once.", address, minItems=1, uniqueItems=True)


def _table(description: str, /, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": False, "properties": properties}


def _many(description: str, what: str, octets: int) -> dict[str, Any]:
    """A table whose keys are names."""
    keys = {"minLength": 1, "maxLength": octets}
    return {
        "type": "object",
        "description": description,
        "propertyNames": keys,
        "additionalProperties": _ref(what),
    }


def _ref(what: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{what}"}


def _strings(description: str, each: dict[str, Any], **rules: Any) -> dict[str, Any]:
    """A list of strings; one string stands for a list of one."""
    return {"description": description, "anyOf": [each, {"type": "array", "items": each, **rules}]}


def _string(description: str, octets: int = 0) -> dict[str, Any]:
    longest = {"maxLength": octets} if octets else {}
    return {"type": "string", "minLength": 1, **longest, "description": description}


if __name__ == "__main__":
    FILE.write_text(schema_text(), encoding="utf-8")
