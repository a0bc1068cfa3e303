"""One file for each verb of ``mailhost``."""
