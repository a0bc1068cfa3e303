"""Small file systems that are broken on purpose: the commands and programs for it, the same on every host.

Never a disk of the machine: what is filled must be a mount of its own, and small.
"""

from __future__ import annotations

from popbox.scenario.names import Disk

DISKS: tuple[Disk, ...] = ("queue", "popboxes")
SMALL_OCTETS = 64 << 20  # our choice: room for ten minutes of load, filled in a moment
SMALL = f"size={SMALL_OCTETS},nr_inodes=32k"
FILLER = ".popbox-filler"

# argv: path. Ends with 1 and its reason where the place is no small mount of its own.
FILL = f"""
import os, sys
top = sys.argv[1]
found = os.statvfs(top)
if not os.path.ismount(top) or found.f_blocks * found.f_frsize > {SMALL_OCTETS}:
    sys.exit(f"{{top}} is no small disk of its own, and is not filled")
fd = os.open(os.path.join(top, "{FILLER}"), os.O_WRONLY | os.O_CREAT, 0o600)
step = 65536
while step:
    try:
        os.write(fd, bytes(step))
    except OSError as error:
        if error.errno != 28:
            raise
        step //= 2
"""

# argv: paths. Prints for each that is ill a line: its name, and what is wrong with its file system.
EXAMINE = """
import os, sys
for path in sys.argv[1:]:
    found = os.statvfs(path)
    name = os.path.basename(path)
    if found.f_flag & os.ST_RDONLY:
        print(f"{name}: the disk is read-only")
    elif found.f_bavail == 0:
        print(f"{name}: the disk is full ({found.f_blocks * found.f_frsize // 1024} KiB, none free)")
    elif found.f_files and found.f_favail == 0:
        print(f"{name}: the disk has no inode left")
"""


def mount(path: str) -> list[str]:
    """The command that makes a path a small file system of its own."""
    return ["mount", "-t", "tmpfs", "-o", f"{SMALL},mode=0755,nosuid,nodev", "popbox", path]


# $1: ro or rw, $2: path. While a file is open for writing, as in each delivery, the kernel says EBUSY: tried for 5 s.
REMOUNT = """
n=0
until said=$(mount -o "remount,$1" "$2" 2>&1); do
  n=$((n + 1))
  case $said in *busy*) ;; *) n=50 ;; esac
  [ "$n" -lt 50 ] || { echo "$said" >&2; exit 32; }
  sleep 0.1
done
"""


def remount(path: str, read_only: bool) -> list[str]:
    """The command that makes such a file system read-only, or writable again, wherever it is mounted."""
    return ["sh", "-c", REMOUNT, "remount", "ro" if read_only else "rw", path]
