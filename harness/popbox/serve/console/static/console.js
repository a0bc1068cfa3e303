// Live rows and keys. Everything on the pages works without this file.
"use strict";
(() => {
  const body = document.body, root = body.dataset.root;
  const rowsOf = () => document.querySelector("[data-rows] tbody");
  const MOST_ROWS = 100;

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
    "?": () => document.querySelector(".keys").scrollIntoView(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing) typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  // Live: ids of journeys that changed are gathered for a moment, and their rows asked for at once.
  const cursor = body.dataset.cursor;
  if (cursor === undefined || !("EventSource" in window)) return;
  const badge = document.querySelector("[data-live]"), news = document.getElementById("news");
  const changed = new Set();
  let asking = false, fresh = 0, told = 0;

  const say = () => {
    if (!fresh || Date.now() - told < 5000) return;
    news.textContent = fresh === 1 ? "1 new message" : `${fresh} new messages`;
    told = Date.now();
    fresh = 0;
    setTimeout(() => { news.textContent = ""; }, 4000);
  };

  const put = (row) => {
    const table = rowsOf(), old = document.getElementById(row.id);
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

  const ask = async () => {
    if (asking || !changed.size) return;
    asking = true;
    const ids = [...changed].sort((a, b) => b - a).slice(0, MOST_ROWS);
    changed.clear();
    try {
      const answer = await fetch(`${root}/rows?ids=${ids.join(",")}${body.dataset.filter ? "&" + body.dataset.filter : ""}`);
      if (answer.ok) {
        const held = document.createElement("template");
        held.innerHTML = await answer.text();
        held.content.querySelectorAll("tr").forEach(put);
        document.querySelector("[data-empty]")?.remove();
      }
    } finally {
      asking = false;
    }
    say();
    if (changed.size) setTimeout(ask, 50);
  };

  const source = new EventSource(`${root}/v1/events?since=${cursor}`);
  const state = (text) => { badge.hidden = false; badge.textContent = text; };
  source.onopen = () => state("live");
  source.onerror = () => state("not connected");
  source.onmessage = (event) => {
    const message = JSON.parse(event.data).message;
    if (!message) return;
    changed.add(message);
    setTimeout(ask, 20);
  };
  setInterval(say, 5000);
  addEventListener("pagehide", () => source.close());
})();
