"""Commands of a click program as Markdown: each with its synopsis, its text, its examples and all its options."""

from __future__ import annotations

from collections.abc import Iterator

import click

from docs.reference.markdown import block, escaped, item

_GLOBAL = ("--help", "--version")


def walk(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[click.Context]:
    """The contexts of a command and all below it, in the order in which ``--help`` lists them."""
    ctx = click.Context(command, info_name=name, parent=above)
    yield ctx
    if isinstance(command, click.Group):
        for verb in command.list_commands(ctx):
            below = command.get_command(ctx, verb)
            if below is not None:  # `popbox load run` is hidden, as its words can be left out
                yield from walk(below, verb, ctx)


def sections(program: click.Command, name: str, mark: str = "###") -> str:
    """Each command that does something, as a section."""
    return "\n\n".join(
        f"{mark} {ctx.command_path}\n\n{section(ctx)}"
        for ctx in walk(program, name)
        if not isinstance(ctx.command, click.Group) or ctx.command.invoke_without_command
    )


def section(ctx: click.Context) -> str:
    """Synopsis, text, examples and options of one command."""
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    return "\n\n".join(part for part in (block(usage), *_told(ctx.command), options(ctx)) if part)


def options(ctx: click.Context) -> str:
    """The options of a command, without those that all have."""
    records = (
        param.get_help_record(ctx)
        for param in ctx.command.get_params(ctx)
        if param.param_type_name != "argument" and not any(name in param.opts for name in _GLOBAL)
    )
    return "\n".join(item(names, escaped(text)) for names, text in filter(None, records))


def _told(command: click.Command) -> Iterator[str]:
    """The paragraphs of a help text; what click is told to leave as it is (backspace) is code."""
    for part in (command.help or command.short_help or "").partition("\f")[0].split("\n\n"):
        lines = part.strip("\n").splitlines()
        if not lines:
            continue
        if lines[0].strip() != "\b":
            yield escaped(part)
            continue
        indent = min(len(line) - len(line.lstrip()) for line in lines[1:] if line.strip())
        kept = [line[indent:] for line in lines[1:]]
        if kept[0].rstrip() in ("Example:", "Examples:"):
            yield kept[0].rstrip()
            kept = [line.strip() for line in kept[1:]]
        yield block("\n".join(kept))
