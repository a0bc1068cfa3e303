"""``popbox doctor``: the click command."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from popbox.cli.output import echo
from popbox.operate.doctor import Finding, examine, left_up, worlds
from popbox.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object: worlds, findings, hosts.")
@click.pass_obj
def doctor(settings: Settings, as_json: bool) -> int:
    """Show what this machine can run, what it lacks for the rest, and how to get it.

    Exit codes: 0 every world (host and MTA) is available, 1 one is not.
    """
    findings, can, hosts = examine(settings), worlds(settings), left_up(settings)
    if as_json:
        echo(json.dumps({"worlds": can, "findings": [asdict(one) for one in findings], "hosts": hosts}, indent=1))
    else:
        for line in _lines(findings, can, hosts):
            echo(line)
    return 1 if any(can.values()) else 0


def _lines(findings: list[Finding], can: dict[str, str], hosts: list[str]) -> list[str]:
    lines = []
    for one in findings:
        lines.append(f"  {'ok  ' if one.there else 'MISS'} {one.name}: {one.said}")
        if not one.there:
            lines += [f"         needed for {one.needed_for}", f"         {one.how}"]
    lines.append("\nThis machine can run:")
    lines += [f"  {'yes' if not why else 'no ':4} {world}{why and f'  ({why})'}" for world, why in can.items()]
    if hosts:
        lines += [
            "\nHosts that are up (`popbox down` removes those kept or left behind):",
            *(f"  {one}" for one in hosts),
        ]
    return lines
