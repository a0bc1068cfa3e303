"""The command line ``popbox``: one file a command; the only place that uses click."""
