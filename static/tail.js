// Follows a topic. Every text of a message goes into the page as text, never as markup.
"use strict";
(() => {
  const ROWS_MAX = 200, TEXT_MAX = 300, AGAIN_MS_MAX = 10000;
  const box = document.getElementById("tail"), rows = document.getElementById("tail-rows");
  const pause = document.getElementById("tail-pause"), resume = document.getElementById("tail-resume");
  const state = document.getElementById("tail-state"), words = box.dataset;
  let stop = null, lastId = null, again = 500, over = false;

  // What hides, or hides others, is written out, as on every other page (src/dashboard/visible.rs).
  const HIDES = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;
  const visible = (text) => text.replace(HIDES, (letter) => {
    const code = letter.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return code === 0x7f ? "\u2421" : "⟨U+" + code.toString(16).toUpperCase().padStart(4, "0") + "⟩";
  });
  const cell = (row, label, text, kind) => {
    const it = document.createElement(kind || "td");
    it.dataset.label = label;
    it.textContent = visible(text);
    return row.appendChild(it);
  };
  const show = (message) => {
    const row = document.createElement("tr");
    const time = document.createElement("time");
    time.dateTime = message.accepted_at;
    time.textContent = message.accepted_at.slice(0, 19).replace("T", " ") + " UTC";
    cell(row, words.accepted, "").appendChild(time);
    const link = document.createElement("a");
    link.href = "/messages/" + encodeURIComponent(message.id);
    link.textContent = message.id;
    const head = cell(row, words.message, "", "th");
    head.scope = "row";
    head.appendChild(link);
    cell(row, words.tag, message.tag ?? "–");
    const text = message.encoding === "base64" ? words.bytes : message.body;
    cell(row, words.payload, text.length > TEXT_MAX ? text.slice(0, TEXT_MAX) + "…" : text).className = "preview";
    rows.prepend(row);
    while (rows.children.length > ROWS_MAX) rows.lastElementChild.remove();
  };
  const event = (block) => {
    let name = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("id: ")) lastId = line.slice(4);
      else if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
    }
    if (data.length === 0) return;
    const told = JSON.parse(data.join("\n"));
    if (name === "message") show(told);
    else if (name === "skipped") state.textContent = words.skipped;
    else if (name === "damaged") state.textContent = words.damaged.replace("{0}", told.id);
    else if (name === "end") {
      // A deleted topic or a fault does not pass by asking again; all other ends are of this stream alone.
      over = told.reason === "topic_deleted" || told.reason === "fault";
      state.textContent = words.ended + ": " + visible(told.detail ?? told.reason.replace("_", " "));
    }
  };
  const follow = async () => {
    const own = new AbortController();
    stop = own;
    over = false;
    try {
      const headers = lastId ? { "Last-Event-ID": lastId } : {};
      const answer = await fetch(box.dataset.source, { headers, signal: own.signal });
      if (!answer.ok) {
        state.textContent = words.refused + ": " + (await answer.json()).detail;
        return;
      }
      state.textContent = words.live;
      again = 500;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        blocks.forEach(event);
      }
    } catch {
      // Lost, or paused; both are seen below.
    }
    if (own.signal.aborted || over) return;
    state.textContent = words.lost;
    again = Math.min(again * 2, AGAIN_MS_MAX);
    setTimeout(() => { if (stop === own && !own.signal.aborted) follow(); }, again);
  };
  const halt = (paused) => {
    pause.hidden = paused;
    resume.hidden = !paused;
  };
  pause.addEventListener("click", () => {
    stop?.abort();
    halt(true);
    state.textContent = words.paused;
  });
  resume.addEventListener("click", () => {
    halt(false);
    state.textContent = words.connecting;
    follow();
  });
  box.hidden = false;
  follow();
})();
