"""The site: which pages it has (`pages`), and how Sphinx is set (`conf`)."""
