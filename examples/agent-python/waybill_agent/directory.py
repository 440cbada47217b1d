"""One folder of the volume, held open: every call names one component in it and follows no link."""

import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from .refusal import Refusal

PRIVATE, DELIVERED = 0o700, 0o755


@dataclass(frozen=True)
class Entry:
    kind: str  # file, directory or other
    identity: tuple[int, int]
    size: int
    executable: bool


class Directory:
    def __init__(self, descriptor: int):
        self.fd = descriptor

    @staticmethod
    def root(path: str) -> "Directory":
        return Directory(os.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def __enter__(self) -> "Directory":
        return self

    def __exit__(self, *_) -> None:
        os.close(self.fd)

    def open(self, name: str) -> "Directory | str":
        """missing, or not-a-directory, which is the user's."""
        try:
            return Directory(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd))
        except FileNotFoundError:
            return "missing"
        except (NotADirectoryError, OSError) as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return "not-a-directory"
            raise

    def make(self, name: str, mode: int) -> bool:
        try:
            os.mkdir(name, mode, dir_fd=self.fd)
        except FileExistsError:
            return False
        made = self.open(name)
        if isinstance(made, Directory):
            with made:
                os.fchmod(made.fd, mode)
                owner = os.fstat(self.fd)
                if os.geteuid() == 0:
                    os.fchown(made.fd, owner.st_uid, owner.st_gid)
        return True

    def look(self, name: str) -> Entry | None:
        try:
            found = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        kind = "file" if stat.S_ISREG(found.st_mode) else "directory" if stat.S_ISDIR(found.st_mode) else "other"
        return Entry(kind, (found.st_dev, found.st_ino), found.st_size, bool(found.st_mode & 0o100))

    def names(self) -> list[str]:
        return sorted(os.listdir(self.fd))

    def digest(self, name: str) -> str | None:
        """SHA-256 of a regular file, read as a boot would; None for everything else."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                return None
            raise
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()

    def write(self, name: str, data: bytes, executable: bool) -> None:
        self.unlink(name)
        mode = 0o755 if executable else 0o644
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=self.fd)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            owner = os.fstat(self.fd)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def unlink(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.EPERM):
                raise

    def remove(self, name: str) -> bool:
        """An empty folder. True when it is gone."""
        try:
            os.rmdir(name, dir_fd=self.fd)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        return True

    def link(self, name: str, to: "Directory", new: str) -> str:
        """linked, exists, missing (a name or a removed folder), refused."""
        try:
            os.link(name, new, src_dir_fd=self.fd, dst_dir_fd=to.fd, follow_symlinks=False)
        except FileExistsError:
            return "exists"
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                return "refused"
            raise self._refused(error) from error
        return "linked"

    def move(self, name: str, to: "Directory", new: str) -> bool:
        try:
            os.rename(name, new, src_dir_fd=self.fd, dst_dir_fd=to.fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
                return False
            raise self._refused(error) from error
        return True

    def sync(self) -> None:
        os.fsync(self.fd)

    @staticmethod
    def _refused(error: OSError) -> Refusal:
        return Refusal("VOLUME_FULL" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "VOLUME_UNWRITABLE", str(error))
