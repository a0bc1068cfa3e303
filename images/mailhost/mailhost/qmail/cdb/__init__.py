"""Constant databases, the format of users/cdb and morercpthosts.cdb: read and written (Q-CDB-1..7)."""
