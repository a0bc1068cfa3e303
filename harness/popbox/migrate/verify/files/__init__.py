"""What two servers would hand out, computed from the files of both hosts, without passwords."""
