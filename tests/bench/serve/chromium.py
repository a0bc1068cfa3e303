"""Tabs of Chromium that are watched from afar: no inspector of requests holds answers in their memory.

A page of Playwright has one always: over minutes its renderer grows by 100 MiB of what the page was sent.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

ANSWER_S = 120.0
POLL_S = 0.02
BUSY = "(() => { const until = Date.now() + 1000; while (Date.now() < until); })()"
TAB = {"JSHeapUsedSize": "heap", "JSHeapTotalSize": "heap_total", "Nodes": "nodes", "JSEventListeners": "listeners"}


class Tab:
    """One tab, by the DevTools protocol through a session of the browser. ``wrong``: faults that its pages told of."""

    def __init__(self, browser: Any, script: str = "") -> None:
        """An empty one, seen in a window of its own; ``script`` runs in each page before the page's own."""
        self._of, self._ids = browser.new_browser_cdp_session(), itertools.count()
        self._answers = dict[int, Any]()
        self.wrong = list[str]()
        self._of.on("Target.receivedMessageFromTarget", self._hear)
        target = self._of.send("Target.createTarget", {"url": "about:blank", "newWindow": True})["targetId"]
        self._id = self._of.send("Target.attachToTarget", {"targetId": target, "flatten": False})["sessionId"]
        for domain in ("Page", "Performance", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    def _hear(self, event: Any) -> None:
        told = json.loads(event["message"])
        if event["sessionId"] != self._id:
            return
        if "id" in told:
            self._answers[told["id"]] = told
        elif told["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.wrong.append(json.dumps(told["params"])[:500])

    def send(self, method: str, **params: Any) -> Any:
        """A command of the tab, and what is answered."""
        number = next(self._ids)
        message = json.dumps({"id": number, "method": method, "params": params})
        self._of.send("Target.sendMessageToTarget", {"sessionId": self._id, "message": message})
        until = time.monotonic() + ANSWER_S
        while number not in self._answers:
            assert time.monotonic() < until, f"{method}: no answer in {ANSWER_S:g} s"
            time.sleep(POLL_S)
            self._of.send("Target.getTargets")  # hear what has come
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def go(self, url: str, ready: str = "document.readyState === 'complete'") -> None:
        """Open a page; until ``ready`` is true there."""
        self.send("Page.navigate", url=url)
        until = time.monotonic() + ANSWER_S
        while not self.evaluate(f"location.href === {json.dumps(url)} && {ready}"):
            assert time.monotonic() < until, f"{url} is not there in {ANSWER_S:g} s"
            time.sleep(POLL_S)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def taken(self) -> dict[str, float]:
        """What the page takes: octets of its JS heap, nodes, listeners."""
        told = {one["name"]: one["value"] for one in self.send("Performance.getMetrics")["metrics"]}
        return {short: told[name] for name, short in TAB.items()}

    def processor(self) -> dict[int, float]:
        """Seconds that each process took which shows pages, by pid."""
        told = self._of.send("SystemInfo.getProcessInfo")["processInfo"]
        return {one["id"]: one["cpuTime"] for one in told if one["type"] == "renderer"}

    def renderer(self) -> int:
        """The pid of its own: the one that works while the page does."""
        before = self.processor()
        self.evaluate(BUSY)
        after = self.processor()
        return max(after, key=lambda pid: after[pid] - before.get(pid, 0.0))


def memory(pid: int) -> tuple[int, int]:
    """Octets that are resident of a process, and of these the ones of no file."""
    status = Path(f"/proc/{pid}/status").read_text().split()
    resident, own = (int(status[status.index(f"{key}:") + 1]) * 1024 for key in ("VmRSS", "RssAnon"))
    return resident, own
