// Live rows and keys. Everything on the pages works without this file.
"use strict";
(() => {
  const body = document.body, root = body.dataset.root;
  const rowsOf = () => document.querySelector("[data-rows] tbody");
  const MOST_ROWS = 100, MOST_BEHIND = 1000;

  // Keys: / search, j k rows, Enter opens what has the focus, ? where the list of keys is.
  const links = () => [...document.querySelectorAll("main a.open, main [data-rows] a")].filter((one) => one.offsetParent);
  const step = (by) => {
    const all = links(), at = all.indexOf(document.activeElement);
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    if (next) next.focus();
  };
  const keys = {
    "/": () => document.getElementById("q").focus(),
    "j": () => step(1),
    "k": () => step(-1),
    "?": () => document.getElementById("keys").focus(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing) typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  // What is new is said at once, and at most every 5 s.
  const badge = document.querySelector("[data-live]"), news = document.getElementById("news");
  const state = (text) => { badge.hidden = false; badge.textContent = text; };
  let unsaid = () => "", told = -5000, later = 0;
  const say = () => {
    const early_ms = told + 5000 - performance.now();
    if (early_ms > 0) {
      later = later || setTimeout(() => { later = 0; say(); }, early_ms);
      return;
    }
    const text = unsaid();
    if (!text) return;
    news.textContent = text;
    told = performance.now();
    setTimeout(() => { news.textContent = ""; }, 4000);
  };

  // Parts of a page that the server makes again. What is open, and what has the focus, stays so.
  const keyOf = (one) => [one.closest("[data-recipient]")?.dataset.recipient, one.closest("[data-leg]")?.dataset.leg,
    one.dataset.fold ?? one.getAttribute("href") ?? one.textContent].join("\n");
  const held = new Map([...document.querySelectorAll("[data-part]")].map((one) => [one.id, one.outerHTML]));
  let said = "";
  const renew = async () => {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelectorAll("[data-part]").forEach((old) => {
      const made = page.getElementById(old.id), focus = document.activeElement;
      if (!made) old.remove();
      if (!made || held.get(old.id) === made.outerHTML || old.dataset.part === "whole") return;
      if (old.contains(focus) && focus.matches("input, textarea, select")) return;
      held.set(old.id, made.outerHTML);
      said = made.dataset.said ?? said;
      const open = new Map([...old.querySelectorAll("details")].map((one) => [keyOf(one), one.open]));
      made.querySelectorAll("details").forEach((one) => { one.open = open.get(keyOf(one)) ?? one.open; });
      const key = old.contains(focus) ? keyOf(focus) : null;
      const again = key && [...made.querySelectorAll(focus.tagName)].find((one) => keyOf(one) === key);
      old.replaceWith(made);
      if (again) again.focus();
    });
    say();
  };

  // Parts of a run, asked for again and again until the server says no more.
  const due = () => Number(document.querySelector("[data-every]")?.dataset.every);
  const again = () => setTimeout(async () => {
    if (!document.hidden) await renew().catch(() => {});
    if (due()) again();
  }, due());
  if (due()) {
    unsaid = () => { const text = said; said = ""; return text; };
    again();
  }

  const listen = (query, hear) => {
    const source = new EventSource(`${root}/v1/events?${query}`);
    source.onopen = () => state("live");
    source.onerror = () => state("not connected");
    source.onmessage = (event) => hear(JSON.parse(event.data));
    addEventListener("pagehide", () => source.close());
  };

  // One message's way: made again a moment after anything is recorded of it.
  const cursor = body.dataset.cursor, journey = body.dataset.journey;
  if (cursor === undefined || !("EventSource" in window)) return;
  if (journey) {
    let soon = 0, turn = Promise.resolve();
    unsaid = () => { const text = said; said = ""; return text; };
    listen(`journey=${journey}&since=${cursor}`, () => {
      soon = soon || setTimeout(() => { soon = 0; turn = turn.then(renew).catch(() => {}); }, 100);
    });
    return;
  }

  // Rows: ids of messages that changed are gathered for a moment, and their rows asked for at once, the oldest first,
  // so that each is shown however many come at once. A page that was not drawn for long begins at the newest ones.
  const changed = new Set();
  let asking = false, fresh = 0;
  unsaid = () => {
    const text = fresh === 1 ? "1 new message" : fresh ? `${fresh} new messages` : "";
    fresh = 0;
    return text;
  };

  const put = (row) => {
    const table = rowsOf(), old = table.querySelector(`[data-journey="${row.dataset.journey}"]`);
    if (old) {
      const held = old.contains(document.activeElement);
      old.replaceWith(row);
      if (held) row.querySelector("a").focus();
      return;
    }
    const id = Number(row.dataset.journey);
    const after = [...table.rows].find((one) => Number(one.dataset.journey) < id);
    if (!after && table.rows.length >= MOST_ROWS) return;
    row.classList.add("new");
    table.insertBefore(row, after || null);
    fresh += 1;
    while (table.rows.length > MOST_ROWS) table.deleteRow(-1);
  };

  // A row older than the last one of a full table has no place there.
  const fits = (id) => {
    const rows = rowsOf().rows;
    return rows.length < MOST_ROWS || id >= Number(rows[rows.length - 1].dataset.journey);
  };

  const ask = async () => {
    if (asking || !changed.size) return;
    const waiting = [...changed].filter(fits).sort((a, b) => a - b).slice(-MOST_BEHIND);
    const ids = waiting.splice(0, MOST_ROWS);
    changed.clear();
    if (!ids.length) return;
    asking = true;
    waiting.forEach((one) => changed.add(one));
    let soon_ms = 50;
    try {
      const answer = await fetch(`${root}/rows?ids=${ids.join(",")}${body.dataset.filter ? "&" + body.dataset.filter : ""}`);
      if (!answer.ok) throw new Error(answer.status);
      const held = document.createElement("template");
      held.innerHTML = await answer.text();
      held.content.querySelectorAll("tr").forEach(put);
      const tally = held.content.querySelector("[data-tally]");
      if (tally) document.querySelector("[data-tally]").replaceWith(tally);
      document.querySelector("[data-empty]")?.remove();
    } catch {  // the server is not there for a moment: no row is lost by it
      ids.forEach((one) => changed.add(one));
      soon_ms = 1000;
    }
    asking = false;
    say();
    if (changed.size) setTimeout(ask, soon_ms);
  };

  listen(`since=${cursor}`, ({ message }) => {
    if (!message) return;
    changed.add(message);
    setTimeout(ask, 20);
  });
})();
