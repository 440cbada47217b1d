"""The round: ask what is wanted, do it, report, wait for the next change."""

import json
import os
import random
import sys
import threading
import time

from .broker import Broker
from .files import read_text, write_whole
from .keys import Clock, Keys
from .refusal import Overtaken, Refusal, Unavailable
from .release import open_release, verify_set
from .trust import Trust
from .volume import Attempt, Volume

PERMITS_MAX = 5
REPORTABLE = {
    "VOLUME_FULL", "VOLUME_UNWRITABLE", "UNSUPPORTED_VOLUME", "PATH_REFUSED", "INTEGRITY_FAILED", "MANIFEST_INVALID", "GATE_FIELD",
    "TOO_LARGE", "MISSING_ASSETS", "GRANT_EXPIRED", "UPSTREAM", "UNAVAILABLE",
}


class Agent:
    def __init__(self, environment: dict[str, str]):
        self._volume_path = environment["WAYBILL_VOLUME"]
        self._workspace_id = environment["WAYBILL_WORKSPACE_ID"]
        self._hosts = {host for name in ("WAYBILL_STORE_HOSTS", "WAYBILL_FETCH_HOSTS") for host in environment.get(name, "").split(",") if host}
        self._folder = os.path.join(self._volume_path, ".waybill", "agent")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._keys, self._clock = Keys(self._folder), Clock()
        self._broker = Broker(environment["WAYBILL_BROKER_URL"], self._workspace_id, self._keys, self._clock, environment["WAYBILL_TOKEN_FILE"])
        self._trust = Trust(environment["WAYBILL_KEY_LIST_FILE"], os.path.join(self._folder, "key-list.json"), self._clock)
        self._changed = threading.Event()

    def run(self) -> None:
        failures = 0
        while True:
            try:
                self._round()
                failures = 0
            except Overtaken:
                continue
            except (Unavailable, Refusal, OSError) as error:
                print(f"waits: {error}", file=sys.stderr, flush=True)
                self._while_away()
                time.sleep(0.25 + min(60, 2 ** failures) * random.random() if isinstance(error, Unavailable) else 5)
                failures += 1

    def _round(self) -> None:
        volume = Volume(self._volume_path)
        try:
            volume.inspect()
            self._trust.refresh(self._broker)
            settled = etag = None
            while True:
                held = self._read_held()
                answer = self._broker.wanted(volume.numbers(), settled, etag, held["taken_out"])
                settled = None
                if held["taken_out"]:
                    self._write_held({**held, "taken_out": False})
                if answer is None:
                    continue
                wanted, etag = answer
                self._keep_lease(wanted)
                if wanted["attempt"] is None:
                    continue
                result = self._attempt(volume, wanted, etag)
                print(json.dumps({"attempt": wanted["attempt"], "act": wanted["act"], "result": result}), flush=True)
                if result in ("replan", "superseded", "changed"):
                    etag = None
                elif result != "staged":
                    settled = wanted["attempt"]
        finally:
            volume.close()

    def _attempt(self, volume: Volume, wanted: dict, etag: str) -> str:
        attempt, record = Attempt(volume, wanted["attempt"]), None
        self._changed = changed = threading.Event()
        threading.Thread(target=self._watch, args=(volume.numbers(), etag, changed), daemon=True).start()
        try:
            verified = verify_set(wanted, self._trust) if wanted["act"] in ("boot", "stage", "probe") else []
            files = [file for item in verified for file in item["files"]]
            adopted = attempt.fence(wanted["asides"], wanted["adopt"], files)
            report = {"attempt": wanted["attempt"], "files": [], "kept": [], "removed": [], "directories": wanted["receipts"]["directories"], "failed": None}
            if wanted["act"] in ("boot", "remove"):
                result, record, may_hold = self._change(attempt, wanted, verified, adopted, report)
            else:
                if wanted["act"] == "stage":
                    states = self._build(attempt, wanted, verified, adopted)
                    report["files"] = [{"path": file["path"], "sha256": None if states[file["path"]] == "user" else file["sha256"]} for file in files]
                    report["kept"] = [{"path": path, "reason": "edited", "moved_to": None} for path, state in states.items() if state == "user"]
                elif wanted["act"] == "probe":
                    probed = [file for file in files if wanted["probes"] == "all" or file["path"] in wanted["probe_paths"]]
                    report["files"] = attempt.probe(probed)
                    expected = {file["path"]: file["sha256"] for file in files}
                    report["kept"] = [{"path": one["path"], "reason": "edited", "moved_to": None} for one in report["files"] if one["sha256"] not in (None, expected[one["path"]])]
                result, may_hold = self._report(attempt, report)
            if result != "staged":
                attempt.settle(record, may_hold)
            return result
        except Overtaken as overtaken:
            return overtaken.result
        except Refusal as refusal:
            if hasattr(attempt, "tree"):
                attempt.settle(record, [])
            self._broker.report({
                "attempt": wanted["attempt"], "files": [], "kept": [], "removed": [], "directories": [], "rescued": {"returned": [], "kept": []},
                "failed": {"code": refusal.code if refusal.code in REPORTABLE else "UNAVAILABLE", "path": None},
            })
            return "failed"
        finally:
            changed.set()
            attempt.close()

    def _change(self, attempt: Attempt, wanted: dict, verified: list[dict], adopted: set[str], report: dict) -> tuple[str, dict, list[str]]:
        files = [file for item in verified for file in item["files"]]
        for _ in range(PERMITS_MAX):
            self._build(attempt, wanted, verified, adopted)
            leaving = {file["path"] for file in wanted["receipts"]["files"]} | set(wanted["receipts"]["directories"])
            asked = time.monotonic()
            permit = self._broker.permit(wanted["attempt"], attempt.missing_folders(files, leaving))
            try:
                self._hold(verified, permit["record"])
                applied = attempt.apply(permit["record"], files, asked + permit["expires_in_ms"] / 1000)
            except TimeoutError:
                continue
            report.update(files=attempt.probe(files), kept=applied["kept"], removed=wanted["removal"], directories=applied["directories"])
            result, may_hold = self._report(attempt, report)
            if result != "permit_expired":
                self._held(verified, wanted, applied["directories"], permit["record"])
                return result, permit["record"], may_hold
        raise Refusal("GRANT_EXPIRED", "the permit runs out before the files stand")

    def _build(self, attempt: Attempt, wanted: dict, verified: list[dict], adopted: set[str]) -> dict[str, str]:
        ours: dict[str, set[str]] = {}
        for file in wanted["receipts"]["files"]:
            ours.setdefault(file["path"], set()).add(file["sha256"])
        for file in wanted["known"]:
            ours.setdefault(file["path"], set()).update(file["sha256"])
        needed = {folder for item in verified for file in item["files"] for folder in file["path"].split("/")[:-1]}
        leaving = {path for path in ours if path not in needed} | set(wanted["receipts"]["directories"])
        states = attempt.survey([file for item in verified for file in item["files"]], ours, leaving)
        for item in verified:
            lacking = [file for file in item["files"] if states[file["path"]] in ("absent", "ours") and file["path"] not in adopted]
            if not lacking:
                continue
            self._stop_if_changed()
            grant = self._broker.grant(wanted["attempt"], item["item"])
            data = open_release(item, grant, self._keys.unwrap(grant["data_key"]), self._workspace_id, wanted["attempt"], self._hosts)
            for file in lacking:
                attempt.build(file, data[file["archive_path"]])
                adopted.add(file["path"])
        self._stop_if_changed()
        return states

    def _report(self, attempt: Attempt, report: dict) -> tuple[str, list[str]]:
        self._stop_if_changed()
        rescued = {"returned": attempt.returned, "kept": [file for file in attempt.kept if file["path"] is not None]}
        answer = self._broker.report({**report, "rescued": rescued})
        return answer["result"], answer["may_hold"]

    def _watch(self, folders: list[int], etag: str, changed: threading.Event) -> None:
        """A second question, open while an attempt runs: its answer says that something else is wanted."""
        while not changed.is_set():
            try:
                if self._broker.wanted(folders, None, etag) is not None:
                    changed.set()
            except (Unavailable, Refusal):
                return

    def _stop_if_changed(self) -> None:
        if self._changed.is_set():
            raise Overtaken("changed")

    # -- offline

    def _keep_lease(self, wanted: dict) -> None:
        if wanted["lease"] is None:
            return
        given, kept = self._trust.read_lease(wanted["lease"], self._workspace_id), self._lease()
        if kept is None or given["iat"] >= kept["iat"]:
            write_whole(os.path.join(self._folder, "lease.txt"), wanted["lease"])

    def _lease(self) -> dict | None:
        text = read_text(os.path.join(self._folder, "lease.txt"))
        try:
            return None if text is None else self._trust.read_lease(text, self._workspace_id)
        except (Refusal, ValueError):
            return None

    def _hold(self, verified: list[dict], record: dict) -> None:
        held = self._read_held()
        files = held["files"] + self._files_of(verified)
        unique = {(file["path"], file["sha256"]): file for file in files}
        self._write_held({
            **held, "files": list(unique.values()), "record": record,
            "directories": sorted({*held["directories"], *record["directories"], *record["making"]}),
        })

    def _held(self, verified: list[dict], wanted: dict, directories: list[str], record: dict) -> None:
        files = self._files_of(verified) if wanted["act"] == "boot" else [file for file in self._read_held()["files"] if file["path"] not in wanted["removal"]]
        self._write_held({**self._read_held(), "files": files, "directories": directories, "record": record})

    @staticmethod
    def _files_of(verified: list[dict]) -> list[dict]:
        return [{"path": file["path"], "sha256": file["sha256"], "item_id": item["item"]["item_id"], "access": item["item"]["access"]} for item in verified for file in item["files"]]

    def _read_held(self) -> dict:
        text = read_text(os.path.join(self._folder, "held.json"))
        return {"files": [], "directories": [], "record": None, "taken_out": False} if text is None else json.loads(text)

    def _write_held(self, held: dict) -> None:
        write_whole(os.path.join(self._folder, "held.json"), json.dumps(held))

    def _while_away(self) -> None:
        """The broker cannot be asked: what was sold goes when the lease is over."""
        lease, held = self._lease(), self._read_held()
        sold = [file for file in held["files"] if file["access"] == "sold"]
        if not sold or (lease is not None and self._clock.latest() < lease["exp"]):
            return
        volume = Volume(self._volume_path)
        attempt = Attempt(volume, max(volume.numbers(), default=0) + 1)
        try:
            attempt.fence([held["record"]] if held["record"] else [], None, [])
            paths = sorted({file["path"] for file in sold})
            record = {
                "attempt": attempt.number, "directories": sorted(held["directories"]), "making": [],
                "entries": [{"path": path, "ours": [file["sha256"] for file in sold if file["path"] == path], "denied": False} for path in paths],
            }
            self._write_held({**held, "record": record, "taken_out": True})
            applied = attempt.apply(record, [], float("inf"))
            attempt.settle(record, [])
            left = [file for file in held["files"] if file["access"] != "sold"]
            self._write_held({"files": left, "directories": applied["directories"], "record": None, "taken_out": True})
            print(json.dumps({"taken_out": len(paths)}), flush=True)
        finally:
            attempt.close()
            volume.close()
