"""HTML from templates: all text from outside is escaped, and a name that is not given is an error."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from popbox.printable import plain


def environment(package: str, folder: str = "templates") -> Environment:
    """For a folder of a package. ``plain`` shows what cannot be seen, ``seconds`` a time that passed."""
    made = Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"plain": plain, "seconds": seconds}
    return made


def seconds(value: float | None) -> str:
    """``4 ms``, ``1.25 s``; a dash where the time is not known."""
    if value is None:
        return "–"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
