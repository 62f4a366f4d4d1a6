import pytest

from scilab.storage.filesystems import file_system, is_network, on_network

MOUNTS = """\
proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/ann/local\\040disk xfs rw 0 0
me@there: /mnt/there fuse.sshfs rw 0 0
/dev/sdc1 /mnt/there/twice ext4 rw 0 0
//files/share /mnt/there/twice cifs rw 0 0
overlay /layers fuse.fuse-overlayfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind", "network"),
    [
        ("/tmp/x", "ext4", False),
        ("/home", "nfs4", True),
        ("/home/ann/.local/share", "nfs4", True),
        ("/homeless", "ext4", False),
        ("/home/ann/local disk/scilab", "xfs", False),
        ("/mnt/there/deep", "fuse.sshfs", True),
        ("/mnt/there/twice/x", "cifs", True),
        ("/layers/x", "fuse.fuse-overlayfs", False),
    ],
)
def test_the_file_system_of_a_folder(folder, kind, network):
    assert file_system(folder, MOUNTS) == kind
    assert is_network(kind) is network


def test_network_file_systems_by_name(tmp_path):
    assert all(is_network(kind) for kind in ("nfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "fuse.s3fs", "smb3"))
    assert not any(
        is_network(kind) for kind in ("", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "apfs", "fuseblk")
    )
    assert file_system("/anywhere", "") == "" and on_network(tmp_path) is False
