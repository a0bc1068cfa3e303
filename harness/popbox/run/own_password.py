"""What a scenario declares on host remote has a random password of the run's own there: only this run knows it.

The password that a scenario says, in ``PASS``, ``expect-retrieved`` and ``--password-stdin``, is replaced where it is
meant: at the logins that the scenario declares. Where that cannot be told, the scenario is not fit for host remote.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field

from pydantic import SecretStr

from popbox.scenario.model import Scenario
from popbox.scenario.names import HOWTO_HASH, HOWTO_PASSWORD
from popbox.scenario.steps import Declare, Step, Telnet
from popbox.scenario.transcript import Kind, logins_in, parse

DIGITS = 20  # 119 bits of letters and digits: no pattern, shell or TOML gives one of them a special meaning
FROM_STDIN, HASH = "--password-stdin", "--crypt"


class UnfitError(ValueError):
    """A password of the scenario cannot be replaced; the text names the place and the rule."""


def random_password() -> str:
    """A password of DIGITS letters and digits."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(DIGITS))


@dataclass(slots=True)
class _Known:
    """What the scenario says about the logins that it declares."""

    new: dict[str, str]  # password that it says -> the one that takes its place
    crypt: str
    logins: set[str] = field(default_factory=set)  # with such a password
    others: set[str] = field(default_factory=set)  # with a hash whose password is unknown
    all_named: bool = True  # False: some logins are by the numbering policy, so any login may be one of the scenario's
    sessions: dict[str, str] = field(default_factory=dict)  # name -> login that USER said there

    def add(self, login: str | None, *, told: bool) -> None:
        """Note a login that is declared, and whether its password is told."""
        self.all_named &= login is not None
        (self.logins if told else self.others).update({login} if login else ())

    def instead(self, login: str, password: str, *, taken: bool) -> str:
        """What to say in place of a password, perhaps itself.

        Raises:
            UnfitError: it cannot be told.
        """
        if taken and login in self.logins | self.others and (login in self.others or password not in self.new):
            raise UnfitError(f"the login {login} has a password that no declaration of the scenario tells")
        if password not in self.new or (self.all_named and login and login not in self.logins):
            return password
        if login not in self.logins:
            raise UnfitError(f"whether the scenario declares the login {login or 'said before'} is not told")
        return self.new[password]


def replaced(scenario: Scenario, password: str, crypt: str) -> Scenario:
    """The scenario with that password, of which ``crypt`` is the hash.

    Raises:
        UnfitError: a password cannot be replaced in every place where the scenario says it.
    """
    known = _known(scenario, password, crypt)
    table = scenario.accounts.model_copy(deep=True)
    for domain in table.domains.values():
        for local, box in domain.mailboxes.items():
            domain.mailboxes[local] = box.model_copy(update={"crypt": crypt, "password": None})
    steps = [_in_step(number, step, known) for number, step in enumerate(scenario.step, 1)]
    return scenario.model_copy(update={"accounts": table, "step": steps})


def _known(scenario: Scenario, password: str, crypt: str) -> _Known:
    known = _Known({HOWTO_PASSWORD: password} if HOWTO_HASH in scenario.model_dump_json() else {}, crypt)
    for domain in scenario.accounts.domains.values():
        for box in domain.mailboxes.values():
            if box.password:
                known.new[box.password.get_secret_value()] = password
            known.add(box.login, told=box.crypt in (HOWTO_HASH, None))
    for spec in (step.declare for step in scenario.step if step.declare):
        given = _after(spec.argv, HASH) or ""
        if FROM_STDIN in spec.argv:
            known.new.setdefault(spec.stdin.rstrip("\r\n"), random_password())
        if spec.argv[:2] == ["mailbox", "add"]:
            told = FROM_STDIN in spec.argv or given == HOWTO_HASH or given.startswith("${")
            known.add(_after(spec.argv, "--login"), told=told)
    return known


def _after(argv: list[str], option: str) -> str | None:
    """The value of an option, which is a word of its own."""
    return argv[argv.index(option) + 1] if option in argv[:-1] else None


def _in_step(number: int, step: Step, known: _Known) -> Step:
    update: dict[str, object] = {}
    try:
        if step.declare:
            update = {"declare": _in_declare(step.declare, known)}
        elif step.telnet and step.telnet.service == "pop3":
            update = {"telnet": _in_telnet(step.telnet, known)}
        elif spec := step.expect_retrieved:
            instead = known.instead(spec.login, spec.password.get_secret_value(), taken=True)
            update = {"expect_retrieved": spec.model_copy(update={"password": SecretStr(instead)})}
        step = step.model_copy(update=update)
        _nothing_left(step, known)
    except UnfitError as why:
        raise UnfitError(f"step {number}.{step.verb}: {why}") from None
    return step


def _in_declare(spec: Declare, known: _Known) -> Declare:
    argv, stdin = list(spec.argv), spec.stdin
    given = _after(argv, HASH)
    if given and not given.startswith("${"):  # what a variable holds is of a password replaced in a step before
        argv[argv.index(given)] = known.crypt
    if any(word.startswith((f"{HASH}=", "--scheme", "--password-file")) for word in argv):
        raise UnfitError("its words depend on the very password")
    if stdin and FROM_STDIN not in argv:
        raise UnfitError("what it reads from its input may hold a password")
    if stdin:
        stdin = known.new[stdin.rstrip("\r\n")] + "\n"
    return spec.model_copy(update={"argv": argv, "stdin": stdin})


def _in_telnet(spec: Telnet, known: _Known) -> Telnet:
    login = known.sessions.get(spec.session or "", "")
    lines, taken = spec.transcript.split("\n"), logins_in(spec.transcript)
    for line in (one for one in parse(spec.transcript) if one.kind is Kind.CLIENT):
        verb, _, argument = line.text.partition(" ")
        if verb.upper() == "USER":
            login = argument
        elif verb.upper() == "PASS":
            instead = known.instead(login, argument, taken=(login, argument) in taken)
            lines[line.number - 1] = f"C: {verb} {instead}"
        elif verb.upper() == "AUTH" and known.new:
            raise UnfitError("AUTH says a password in another form")
    if spec.session:
        known.sessions[spec.session] = login
    return spec.model_copy(update={"transcript": "\n".join(lines)})


def _nothing_left(step: Step, known: _Known) -> None:
    """Check that the old password is gone from the scenario.

    Raises:
        UnfitError: a password that was replaced, or the sample hash, is said in another place than a login.
    """
    said = step.model_dump_json(exclude={"name"})
    if step.telnet:  # where PASS still has it, the login is another's
        said = "\n".join(one.text for one in parse(step.telnet.transcript) if not one.text.upper().startswith("PASS "))
    for new in (*known.new.values(), known.crypt):
        said = said.replace(new, "")
    if known.new and any(one in said for one in (*known.new, HOWTO_HASH)):
        raise UnfitError("the password that is replaced, or its hash, is said in another place than a login")
