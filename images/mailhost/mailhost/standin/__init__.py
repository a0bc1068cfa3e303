"""A stand-in MTA that reads qmail's control files, for machines without qmail."""
