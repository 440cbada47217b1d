"""The file work of one attempt ("File work" of the protocol): nothing a dead attempt does counts, no byte of the user's is lost."""

import hashlib
import re
import time
from contextlib import ExitStack

from .directory import DELIVERED, PRIVATE, Directory
from .refusal import Overtaken, Refusal

ASIDE = re.compile(r"([fd])(\d{1,7})\.(\d{1,9})")


def tree_name(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]


class Volume:
    """The folders of waybill on the volume, held open."""

    def __init__(self, path: str):
        self._path = path
        self._held = ExitStack()
        self.root = self._held.enter_context(Directory.root(path))
        waybill = self._private(self.root, ".waybill")
        self.attempts = self._private(waybill, "attempts")
        self.kept = self._private(waybill, "kept")

    def close(self) -> None:
        self._held.close()

    def _private(self, parent: Directory, name: str) -> Directory:
        parent.make(name, PRIVATE)
        opened = parent.open(name)
        if isinstance(opened, str):
            raise Refusal("VOLUME_UNWRITABLE", f"{name} is not a folder")
        return self._held.enter_context(opened)

    def numbers(self) -> list[int]:
        return sorted(int(name) for name in self.attempts.names() if re.fullmatch(r"[1-9]\d{0,15}", name))

    def inspect(self) -> None:
        """Links, a refusal on a taken name, and nothing into a removed folder: what the fence rests on."""
        self.attempts.make("test-python", PRIVATE)
        with self.attempts.open("test-python") as test:
            test.write("file", b"1", False)
            good = test.link("file", test, "second") in ("linked", "exists") and test.link("file", test, "second") == "exists"
            test.make("removed", PRIVATE)
            with test.open("removed") as removed:
                test.remove("removed")
                good = good and test.link("file", removed, "late") == "missing" and not test.move("second", removed, "late")
            test.unlink("file")
            test.unlink("second")
        self.attempts.remove("test-python")
        if not good:
            raise Refusal("UNSUPPORTED_VOLUME", "the volume does not do what the fence rests on")

    def place(self, path: str, make=None) -> "Place | None":
        return Place.find(self.root, path, make)


class Place:
    """The parent of a path, held open, and the name in it; `blocked` when a component is no folder: the user's."""

    def __init__(self, root: Directory, parent: Directory | None, name: str, blocked: str | None = None):
        self._root, self.parent, self.name, self.blocked = root, parent, name, blocked

    @staticmethod
    def find(root: Directory, path: str, make=None) -> "Place | None":
        *components, name = path.split("/")
        parent, reached = root, ""
        for component in components:
            reached = f"{reached}/{component}".lstrip("/")
            child = parent.open(component)
            if child == "missing" and make is not None:
                make(parent, component, reached)
                child = parent.open(component)
            if parent is not root:
                parent.__exit__()
            if child == "missing":
                return None
            if isinstance(child, str):
                return Place(root, None, name, reached)
            parent = child
        return Place(root, parent, name)

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_) -> None:
        if self.parent is not None and self.parent is not self._root:
            self.parent.__exit__()


class Attempt:
    """One attempt's own folder. Made by the fence; whoever comes later removes it, and with it all that this one could do."""

    def __init__(self, volume: Volume, number: int):
        self.volume, self.number = volume, number
        self.returned: list[str] = []
        self.kept: list[dict] = []
        self._serial = 0
        self._held = ExitStack()

    def close(self) -> None:
        self._held.close()

    # -- fence

    def fence(self, asides: list[dict], adopt: int | None, files: list[dict]) -> set[str]:
        """Out: paths whose staged file is ours now."""
        attempts = self.volume.attempts
        if any(number > self.number for number in self.volume.numbers()):
            raise Overtaken("superseded")
        attempts.make(str(self.number), PRIVATE)
        self.folder = self._own(attempts, str(self.number))
        self.folder.make("aside", PRIVATE)
        self.folder.make("tree", PRIVATE)
        self.aside, self.tree = self._own(self.folder, "aside"), self._own(self.folder, "tree")
        adopted = set() if adopt is None else self._adopt(adopt, files)
        records = {record["attempt"]: record for record in asides}
        for number in self.volume.numbers():
            if number < self.number:
                self._remove_attempt(number, records.get(number))
        if any(number > self.number for number in self.volume.numbers()):
            raise Overtaken("superseded")
        return adopted

    def _own(self, parent: Directory, name: str) -> Directory:
        opened = parent.open(name)
        if isinstance(opened, str):
            raise Overtaken("superseded")
        return self._held.enter_context(opened)

    def _adopt(self, earlier: int, files: list[dict]) -> set[str]:
        folder = self.volume.attempts.open(str(earlier))
        if isinstance(folder, str):
            return set()
        with folder:
            tree = folder.open("tree")
            if isinstance(tree, str):
                return set()
            with tree:
                adopted = set()
                for file in files:
                    name = tree_name(file["path"])
                    if not tree.move(name, self.tree, name):
                        continue
                    entry = self.tree.look(name)
                    if self.tree.digest(name) == file["sha256"] and entry is not None and entry.executable == file["executable"]:
                        adopted.add(file["path"])
                    else:
                        self.tree.unlink(name)
                return adopted

    def _remove_attempt(self, number: int, record: dict | None) -> None:
        for _ in range(1000):
            folder = self.volume.attempts.open(str(number))
            if isinstance(folder, str):
                return
            with folder:
                for part, judge in (("aside", self._judge), ("tree", self._discard)):
                    self._empty(folder, part, lambda inner, name, judge=judge: judge(inner, name, number, record))
                for name in folder.names():
                    if name not in ("aside", "tree"):
                        self._discard(folder, name, number, record)
            if self.volume.attempts.remove(str(number)):
                return
        raise Refusal("VOLUME_UNWRITABLE", f"the folder of attempt {number} is filled as often as it is emptied")

    @staticmethod
    def _empty(parent: Directory, name: str, clear) -> None:
        for _ in range(1000):
            folder = parent.open(name)
            if isinstance(folder, str):
                return
            with folder:
                for entry in folder.names():
                    clear(folder, entry)
            if parent.remove(name):
                return

    def _judge(self, aside: Directory, name: str, number: int, record: dict | None) -> None:
        matched = ASIDE.fullmatch(name)
        kind, position = (matched[1], int(matched[2])) if matched and record else ("", 0)
        if kind == "d" and position < len(record["directories"]):
            path = record["directories"][position]
            if not aside.remove(name):
                self._put_back(aside, name, number, path, "directory")
        elif kind == "f" and position < len(record["entries"]):
            entry = record["entries"][position]
            if aside.digest(name) in entry["ours"]:
                aside.unlink(name)
            elif entry["denied"]:
                self._keep(aside, name, number, entry["path"], "edited")
            else:
                self._put_back(aside, name, number, entry["path"], "edited")
        else:
            self._keep(aside, name, number, None, "unexpected")

    def _discard(self, folder: Directory, name: str, number: int, _record) -> None:
        entry = folder.look(name)
        if entry is None:
            return
        if entry.kind != "directory":
            folder.unlink(name)
        elif not folder.remove(name):
            self._keep(folder, name, number, None, "unexpected")

    def _put_back(self, folder: Directory, name: str, number: int, path: str, reason: str) -> None:
        """A second name first, then the first one goes: cut off anywhere, nothing is lost and nothing replaced."""
        place = self.volume.place(path)
        if place is not None:
            with place:
                if place.parent is not None:
                    linked = folder.link(name, place.parent, place.name)
                    here, there = folder.look(name), place.parent.look(place.name)
                    if linked == "linked" or (here and there and here.identity == there.identity):
                        folder.unlink(name)
                        self.returned.append(path)
                        return
                    if here is not None and here.kind == "directory" and there is None and folder.move(name, place.parent, place.name):
                        self.returned.append(path)
                        return
        self._keep(folder, name, number, path, reason)

    def _keep(self, folder: Directory, name: str, number: int, path: str | None, reason: str) -> str | None:
        base = f"{number}-{name if ASIDE.fullmatch(name) else 'x' + hashlib.sha256(name.encode()).hexdigest()[:16]}"
        for count in range(10_000):
            new = base if count == 0 else f"{base}.{count}"
            linked = folder.link(name, self.volume.kept, new)
            if linked == "missing":
                return None
            if linked == "linked":
                folder.unlink(name)
            elif linked == "exists" or self.volume.kept.look(new) is not None or not folder.move(name, self.volume.kept, new):
                continue
            moved = f".waybill/kept/{new}"
            self.kept.append({"path": path, "reason": reason, "moved_to": moved})
            return moved
        raise Refusal("VOLUME_UNWRITABLE", "kept/ is full of files of one name")

    # -- survey and build

    def survey(self, files: list[dict], ours: dict[str, set[str]], leaving: set[str]) -> dict[str, str]:
        return {file["path"]: self._state(file, ours, leaving) for file in files}

    def _state(self, file: dict, ours: dict[str, set[str]], leaving: set[str]) -> str:
        path = file["path"]
        place = self.volume.place(path)
        if place is None:
            return "absent"
        with place:
            if place.blocked is not None:
                return "absent" if place.blocked in leaving else "user"
            entry = place.parent.look(place.name)
            if entry is None:
                return "absent"
            digest = place.parent.digest(place.name)
            if digest == file["sha256"]:
                return "same" if entry.executable == file["executable"] else "ours"
            if digest is not None and digest in ours.get(path, set()):
                return "ours"
            return "absent" if digest is None and path in leaving else "user"

    def missing_folders(self, files: list[dict], leaving: set[str]) -> list[str]:
        needed = sorted({folder for file in files for folder in parents(file["path"])})
        return [folder for folder in needed if self._is_missing(folder, leaving)]

    def _is_missing(self, folder: str, leaving: set[str]) -> bool:
        place = self.volume.place(folder)
        if place is None:
            return True
        with place:
            if place.blocked is not None:
                return place.blocked in leaving
            entry = place.parent.look(place.name)
            return entry is None or (entry.kind != "directory" and folder in leaving)

    def build(self, file: dict, data: bytes) -> None:
        name = tree_name(file["path"])
        try:
            self.tree.write(name, data, file["executable"])
        except FileNotFoundError:
            raise Overtaken("superseded") from None
        if self.tree.digest(name) != file["sha256"]:
            raise Refusal("INTEGRITY_FAILED", f"{file['path']} is another once written")

    # -- apply

    def apply(self, record: dict, files: list[dict], until: float) -> dict:
        """`until`: of the monotonic clock; past it nothing more becomes visible, and what is there goes on with a new permit."""
        wanted = {file["path"]: file for file in files}
        needed = {folder for path in wanted for folder in parents(path)}
        self._serial = max([int(ASIDE.fullmatch(name)[3]) for name in self.aside.names() if ASIDE.fullmatch(name)], default=0)
        self._made: list[str] = []
        users: list[dict] = []
        entries = list(enumerate(record["entries"]))
        for position, entry in entries:
            if entry["path"] not in wanted:
                self._bring(position, entry, None, users, until)
        for position, folder in sorted(enumerate(record["directories"]), key=lambda pair: -pair[1].count("/")):
            if folder not in needed:
                self._remove_folder(position, folder, users, until)
        for position, entry in entries:
            if entry["path"] in wanted:
                self._bring(position, entry, wanted[entry["path"]], users, until)
        self.volume.root.sync()
        standing = [folder for folder in record["directories"] if self._stands(folder)]
        return {"kept": users, "directories": sorted({*standing, *self._made})}

    def _next(self, kind: str, position: int) -> str:
        self._serial += 1
        return f"{kind}{position}.{self._serial}"

    def _check(self, until: float) -> None:
        if time.monotonic() > until:
            raise TimeoutError("the permit has run out")
        if self.folder.look("tree") is None or self.folder.look("aside") is None:
            raise Overtaken("superseded")

    def _make(self, parent: Directory, name: str, path: str) -> None:
        """Renamed out of our tree: a mkdir would not be stopped by a fence."""
        self._serial += 1
        empty = f"d{self._serial}"
        self.tree.make(empty, DELIVERED)
        if self.tree.move(empty, parent, name):
            self._made.append(path)
            parent.sync()
        else:
            self.tree.remove(empty)

    def _bring(self, position: int, entry: dict, file: dict | None, users: list[dict], until: float) -> None:
        for _ in range(64):
            self._check(until)
            if self._bring_once(position, entry, file, users):
                return
        raise Refusal("VOLUME_UNWRITABLE", f"{entry['path']} was changed by somebody else again and again")

    def _bring_once(self, position: int, entry: dict, file: dict | None, users: list[dict]) -> bool:
        path = entry["path"]
        place = self.volume.place(path, None if file is None else self._make)
        if place is None:
            return file is None
        with place:
            if place.blocked is not None:
                if file is not None:
                    users.append({"path": path, "reason": "parent", "moved_to": None})
                return True
            found = place.parent.look(place.name)
            if found is not None:
                digest = place.parent.digest(place.name)
                if file is not None and digest == file["sha256"] and found.executable == file["executable"]:
                    return True
                is_ours = digest is not None and digest in entry["ours"]
                if found.kind == "directory" or not (is_ours or entry["denied"]):
                    reason = {"directory": "directory", "other": "not-regular"}.get(found.kind, "edited")
                    users.append({"path": path, "reason": reason, "moved_to": None})
                    return True
                if file is not None and not entry["denied"] and self.tree.look(tree_name(path)) is None:
                    raise Refusal("MISSING_ASSETS", f"{path} was taken away while it was being delivered")
                if not self._move_aside(position, entry, place, users):
                    return False
                if self.aside_returned:
                    return True
            if file is None:
                place.parent.sync()
                return True
            linked = self.tree.link(tree_name(path), place.parent, place.name)
            if linked == "missing":
                if self.tree.look(tree_name(path)) is None:
                    self._check(float("inf"))
                    raise Refusal("MISSING_ASSETS", f"{path} was taken away while it was being delivered")
                return False
            if linked == "refused":
                raise Refusal("VOLUME_UNWRITABLE", f"nothing may be added to the folder of {path}")
            if linked == "exists":
                return False  # somebody took the name: judged again
            place.parent.sync()
            return True

    def _move_aside(self, position: int, entry: dict, place: Place, users: list[dict]) -> bool:
        """Judged again where no new handle can reach it; what is not ours after all goes back."""
        self.aside_returned = False
        name = self._next("f", position)
        if not place.parent.move(place.name, self.aside, name):
            return False
        if self.aside.digest(name) in entry["ours"]:
            if entry["denied"]:
                self.aside.unlink(name)
            return True
        if entry["denied"]:
            self._keep(self.aside, name, self.number, entry["path"], "edited")
            return True
        before = len(self.kept)
        self._put_back(self.aside, name, self.number, entry["path"], "edited")
        moved = self.kept[before]["moved_to"] if len(self.kept) > before else None
        users.append({"path": entry["path"], "reason": "edited", "moved_to": moved})
        self.aside_returned = True
        return True

    def _remove_folder(self, position: int, folder: str, users: list[dict], until: float) -> None:
        self._check(until)
        place = self.volume.place(folder)
        if place is None or place.blocked is not None:
            return
        with place:
            opened = place.parent.open(place.name)
            if isinstance(opened, str):
                return
            with opened:
                if opened.names():
                    return
            name = self._next("d", position)
            if place.parent.move(place.name, self.aside, name) and not self.aside.remove(name):
                self._put_back(self.aside, name, self.number, folder, "directory")

    def _stands(self, folder: str) -> bool:
        place = self.volume.place(folder)
        if place is None or place.blocked is not None:
            return False
        with place:
            entry = place.parent.look(place.name)
            return entry is not None and entry.kind == "directory"

    # -- probe and settle

    def probe(self, files: list[dict]) -> list[dict]:
        return [{"path": file["path"], "sha256": self._read(file["path"])} for file in files]

    def _read(self, path: str) -> str | None:
        place = self.volume.place(path)
        if place is None or place.blocked is not None:
            return None
        with place:
            return place.parent.digest(place.name)

    def settle(self, record: dict | None, may_hold: list[str]) -> None:
        for name in self.tree.names():
            self.tree.unlink(name)
            self.tree.remove(name)
        self.folder.remove("tree")
        for name in self.aside.names():
            matched = ASIDE.fullmatch(name)
            if record is None or matched is None or matched[1] != "f" or int(matched[2]) >= len(record["entries"]):
                continue
            digest = self.aside.digest(name)
            if digest in record["entries"][int(matched[2])]["ours"] and digest not in may_hold:
                self.aside.unlink(name)
        if self.folder.remove("aside"):
            self.volume.attempts.remove(str(self.number))
