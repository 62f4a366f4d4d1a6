"""Which file system a folder lives on.

SQLite's write-ahead log shares memory between processes; network file systems cannot, and many of them lock badly
(https://www.sqlite.org/wal.html, "all processes using a database must be on the same host computer").
"""

import os
import re
from pathlib import Path

_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs",
}  # fmt: skip
_LOCAL_FUSE = {"fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.mergerfs"}


def file_system(folder: Path, mounts: str) -> str:
    """Type of the file system that holds `folder` according to `mounts`, the text of /proc/mounts ("" if unknown).

    The longest mount point that contains the folder decides; of two on the same point, the later (upper) one.
    """
    folder = Path(os.path.realpath(folder))
    found, depth = "", 0
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if folder.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = fields[2], len(point.parts)
    return found


def is_network(kind: str) -> bool:
    """Whether a file system type is reached over a network (an unknown FUSE one is taken to be)."""
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def on_network(folder: Path) -> bool:
    """Whether `folder` is on a network file system; False where there is no /proc/mounts to ask (macOS)."""
    try:
        mounts = Path("/proc/mounts").read_text(errors="surrogateescape")
    except OSError:
        return False
    return is_network(file_system(folder, mounts))
