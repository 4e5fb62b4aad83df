// What pages do beyond links and forms: parts that renew themselves (htmx and idiomorph), curves (uPlot), keys, and the
// word when the broker does not answer. Everything is there without it.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const byId = (id) => document.getElementById(id);

  // The broker answers, or answers with something else (status), or not at all (0). Since when is said in the words of
  // the page, and all times are in UTC, as on the rest of it.
  const lost = byId("lost");
  let last = new Date();
  const heard = (status) => {
    const answered = status >= 200 && status < 300;
    if (answered) last = new Date();
    else {
      const words = status ? lost.dataset.refused : lost.dataset.text, since = last.toISOString().slice(11, 19) + " UTC";
      const text = words.replace("{0}", since).replace("{1}", status);
      if (lost.textContent !== text) lost.textContent = text;
    }
    lost.hidden = answered;
  };

  // On a phone the navigation is wider than the screen: where somebody is stands in sight.
  document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // Parts that renew themselves, while somebody looks at the page. One in which text is selected stays as it is.
  const on = (name, work) => document.body.addEventListener(name, work);
  on("htmx:beforeRequest", (event) => { if (document.hidden) event.preventDefault(); });
  on("htmx:oobBeforeSwap", (event) => {
    const part = event.detail.target, chosen = getSelection();
    if (!chosen.isCollapsed && part.contains(chosen.anchorNode)) event.detail.shouldSwap = false;
  });
  on("htmx:oobAfterSwap", () => mark());
  on("htmx:afterRequest", (event) => heard(event.detail.xhr.status));

  // Curves: the same numbers as in the tables below them, asked for anew while somebody looks.
  const figures = [...document.querySelectorAll("figure.chart")], plots = new Map();
  const DAY = { weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false, timeZone: "UTC" };
  const times = (isLong) => (time) => {
    const at = new Date(time * 1000);
    return isLong ? at.toLocaleString([], DAY) : at.toLocaleTimeString([], { hour12: false, timeZone: "UTC" });
  };
  const options = (isLong, width) => {
    const style = getComputedStyle(document.documentElement);
    const [soft, line, accent] = ["--soft", "--line", "--accent"].map((name) => style.getPropertyValue(name).trim());
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    return {
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
      width, height: 150, cursor: { y: false }, legend: { show: false }, padding: [8, 8, 0, 0],
      scales: { y: { range: (plot, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, space: isLong ? 120 : 80, size: 26, values: (plot, ticks) => ticks.map(times(isLong)) }, { ...axis, size: 52 }],
      series: [{}, { stroke: accent, fill: accent + "18", width: 1.75, points: { show: false } }],
    };
  };
  const draw = (figure, past) => {
    const values = past.series[figure.dataset.series] || [], box = figure.querySelector(".plot");
    const start = Date.parse(past.from) / 1000, step = past.step_ms / 1000;
    const data = [values.map((_, place) => start + (place + 1) * step), values];
    if (plots.has(figure)) return plots.get(figure).setData(data);
    box.replaceChildren();
    plots.set(figure, new uPlot(options(step >= 60, box.clientWidth), data, box));
  };
  let next = 0, pause = EVERY_MS;
  const drawAll = async () => {
    clearTimeout(next);
    next = setTimeout(drawAll, pause);
    if (document.hidden) return;
    const series = figures.map((figure) => figure.dataset.series).join(",");
    try {
      const answer = await fetch(figures[0].dataset.source + series, { signal: AbortSignal.timeout(10000) });
      heard(answer.status);
      if (!answer.ok) return;
      const past = await answer.json();
      pause = Math.max(EVERY_MS, past.step_ms);
      figures.forEach((figure) => draw(figure, past));
    } catch {
      heard(0);
    }
  };
  const redraw = () => {
    if (!window.uPlot || figures.length === 0) return;
    plots.forEach((plot) => plot.destroy());
    plots.clear();
    drawAll();
  };
  if (window.uPlot && figures.length > 0) {
    drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    let resized = 0;
    addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(redraw, 200); });
  }

  // Keys. Not while somebody writes, not together with keys of the browser, and not for whom they are in the way: who
  // speaks to a machine says letters (WCAG 2.2, 2.1.4).
  const KEYS = "whimbrel-keys", keys = byId("keys"), keysOn = byId("keys-on"), showKeys = byId("show-keys");
  try { keysOn.checked = localStorage.getItem(KEYS) !== "off"; } catch { /* Nothing is kept; they are on. */ }
  keysOn.addEventListener("change", () => {
    try { localStorage.setItem(KEYS, keysOn.checked ? "on" : "off"); } catch { /* Only for this page, then. */ }
  });
  showKeys.parentElement.hidden = false;
  showKeys.addEventListener("click", () => keys.showModal());
  const GO = { o: "/", t: "/topics", g: "/groups", m: "/messages", d: "/dead-letters", a: "/alerts" };
  let after = "", at = null;
  const rows = () => [...document.querySelectorAll("main tbody tr")].filter((row) => row.offsetParent !== null);
  const mark = () => rows().forEach((row) => row.classList.toggle("at", row === at));
  const move = (by) => {
    const all = rows();
    if (all.length === 0) return;
    at = all[Math.max(0, Math.min(all.length - 1, all.indexOf(at) + by))];
    mark();
    at.scrollIntoView({ block: "nearest" });
    at.querySelector("a")?.focus({ preventScroll: true });
  };
  const turn = () => {
    const themes = [...document.querySelectorAll("[data-set-theme]")];
    const now = themes.findIndex((link) => link.hasAttribute("aria-current"));
    const next = themes[(now + 1) % themes.length];
    if (!next) return;
    // Here and now, so that nothing that was typed is lost; the answer has the browser remember it.
    document.documentElement.dataset.theme = next.dataset.setTheme;
    themes[now]?.removeAttribute("aria-current");
    next.setAttribute("aria-current", "true");
    redraw();
    fetch(next.href).then((answer) => heard(answer.status), () => heard(0));
  };
  addEventListener("keydown", (event) => {
    if (!keysOn.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, dialog[open]")) return;
    const key = event.key, before = after;
    after = key === "g" && before !== "g" ? "g" : "";
    if (after) return;
    if (before && GO[key]) location.assign(GO[key]);
    else if (key === "/") document.querySelector("input[type=search]").focus();
    else if (key === "j") move(1);
    else if (key === "k") move(-1);
    else if (key === "t") turn();
    else if (key === "?") keys.showModal();
    else return;
    event.preventDefault();
  });
})();
