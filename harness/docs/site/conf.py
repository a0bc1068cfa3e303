"""Sphinx's settings; its sources are the folder that `docs.site` has put together."""

from importlib import metadata

project = "popbox"
release = version = metadata.version("popbox")
project_copyright = ""
html_title = f"popbox {release}"
root_doc = "index"
extensions = ["myst_parser"]
myst_heading_anchors = 4  # links to headings as the forges name them
nitpicky = True
suppress_warnings = [
    "misc.highlighting_failure",  # a transcript is no program
    "myst.header",  # a README may leave a level out
    "toc.not_included",  # a page that others link to
]
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
html_show_sphinx = False
