"""The broker over HTTPS: one proof a request, no redirects, a deadline on everything."""

import http.client
import json
import random
import time
import urllib.parse

from .keys import Keys, Clock
from .refusal import Overtaken, Refusal, Unavailable
from .trust import moment

ANSWER_S = 15
WAIT_S = 25
REPEAT_S = 30


class Broker:
    def __init__(self, url: str, workspace_id: str, keys: Keys, clock: Clock, token_path: str):
        self._url = urllib.parse.urlsplit(url)
        self._base = f"/v1/workspaces/{workspace_id}"
        self._keys, self._clock, self._token_path = keys, clock, token_path

    def wanted(self, folders: list[int], settled: int | None = None, etag: str | None = None, taken_out: bool = False) -> tuple[dict, str] | None:
        """None: nothing changed since the ETag."""
        query = {}
        if folders:
            query["folders"] = ",".join(str(number) for number in sorted(folders, reverse=True)[:100])
        if settled is not None:
            query["settled"] = str(settled)
        if taken_out:
            query["taken_out"] = "sold"
        headers = {} if etag is None else {"if-none-match": etag, "prefer": f"wait={WAIT_S}"}
        path = f"{self._base}/wanted" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        status, answer, fresh = self._ask("GET", path, None, headers, ANSWER_S if etag is None else WAIT_S + 10)
        return None if status == 304 else (answer, fresh)

    def grant(self, attempt: int, item: dict) -> dict:
        answer = self._post("fetches", {"attempt": attempt, "releases": [{"item_id": item["item_id"], "version": item["version"]}], "encryption_key": self._keys.encryption_jwk})
        return self._granted(answer)["items"][0]

    def permit(self, attempt: int, making: list[str]) -> dict:
        return self._granted(self._post("permits", {"attempt": attempt, "making": making}))

    def report(self, body: dict) -> dict:
        return self._post("probes", body)

    def key_lists(self, after: int) -> list[dict]:
        status, answer, _ = self._send("GET", f"/v1/keys?after={after}", None, {}, ANSWER_S)
        if status != 200:
            raise Unavailable(f"the key lists were answered with {status}")
        return answer["lists"]

    @staticmethod
    def _granted(answer: dict) -> dict:
        if answer["result"] != "granted":
            raise Overtaken(answer["result"])
        return answer

    def _post(self, route: str, body: dict) -> dict:
        """The same body again while waiting helps, half a minute at most."""
        started, tries = time.monotonic(), 0
        while True:
            try:
                return self._ask("POST", f"{self._base}/{route}", json.dumps(body), {}, ANSWER_S)[1]
            except Unavailable:
                pause = min(60, 2 ** tries) * random.random()
                tries += 1
                if time.monotonic() - started + pause > REPEAT_S:
                    raise
                time.sleep(pause)

    def _ask(self, method: str, path: str, body: str | None, headers: dict, deadline: float):
        refused = None
        while True:
            with open(self._token_path, encoding="utf8") as file:
                token = file.read().strip()
            if token == refused:
                raise Unavailable("the token was refused and has not been replaced yet")
            url = f"{self._url.scheme}://{self._url.netloc}{path}"
            proof = self._keys.proof(method, url, token, self._clock.now())
            status, answer, etag = self._send(method, path, body, {**headers, "authorization": f"DPoP {token}", "dpop": proof}, deadline)
            if status in (200, 304):
                return status, answer, etag
            code = (answer or {}).get("code", "UNAVAILABLE")
            if code in ("UNAUTHENTICATED", "STALE_VERSION") and refused is None:
                refused = token
                continue
            if status == 429 or status >= 500 or code in ("UNAVAILABLE", "UNAUTHENTICATED", "STALE_VERSION"):
                raise Unavailable(f"the broker answers {status} {code}")
            raise Refusal(code, f"the broker answers {status}: {(answer or {}).get('detail', '')}")

    def _send(self, method: str, path: str, body: str | None, headers: dict, deadline: float):
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname, self._url.port, timeout=deadline)
        try:
            sent = {"accept": "application/json", **headers, **({"content-type": "application/json"} if body is not None else {})}
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read(64 * 1024 * 1024)
            answer = json.loads(text) if text else None
            if isinstance(answer, dict) and "server_time" in answer:
                self._clock.hear(moment(answer["server_time"]))
            return response.status, answer, response.getheader("etag")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"the broker cannot be asked: {error}") from error
        finally:
            connection.close()
