"""Files of the agent itself: whole at every moment, durable once written."""

import os


def write_whole(path: str, text: str) -> None:
    beside = path + ".new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(beside, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_text(path: str) -> str | None:
    try:
        with open(path, encoding="utf8") as file:
            return file.read()
    except FileNotFoundError:
        return None
