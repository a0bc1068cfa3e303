"""The documentation: pages, the reference that is made of the code, and the site and man pages of both."""
