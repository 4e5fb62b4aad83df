// What pages do beyond links and forms: parts that renew themselves (htmx), curves (uPlot), keys, and the word when the
// broker does not answer. Everything is there without it.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const byId = (id) => document.getElementById(id);
  const each = (selector, work) => document.querySelectorAll(selector).forEach(work);

  // The broker answers, or it does not.
  const lost = byId("lost");
  const heard = (answered) => { if (lost) lost.hidden = answered; };
  document.body.addEventListener("htmx:beforeRequest", (event) => { if (document.hidden) event.preventDefault(); });
  document.body.addEventListener("htmx:afterRequest", (event) => heard(event.detail.successful));
  document.body.addEventListener("htmx:sendError", () => heard(false));
  document.body.addEventListener("htmx:timeout", () => heard(false));

  // Curves: the same numbers as in the table below, asked for anew as long as somebody looks.
  const plots = new Map();
  const options = (figure, width) => {
    const style = getComputedStyle(document.documentElement);
    const soft = style.getPropertyValue("--soft"), line = style.getPropertyValue("--line");
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" };
    return {
      width, height: 150, cursor: { y: false }, legend: { show: false },
      scales: { x: { time: true }, y: { range: (plot, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [axis, { ...axis, size: 52 }],
      series: [{}, { label: figure.dataset.series, stroke: style.getPropertyValue("--accent"), width: 1.75, points: { show: false } }],
    };
  };
  const draw = async (figure) => {
    const answer = await fetch(figure.dataset.source);
    if (!answer.ok) return;
    const past = await answer.json(), values = past.series[figure.dataset.series] || [];
    const start = Date.parse(past.from) / 1000, step = past.step_ms / 1000;
    const data = [values.map((_, place) => start + (place + 1) * step), values];
    const box = figure.querySelector(".plot");
    let plot = plots.get(figure);
    if (!plot) {
      box.replaceChildren();
      plot = new uPlot(options(figure, box.clientWidth), data, box);
      plots.set(figure, plot);
    } else {
      plot.setData(data);
    }
  };
  const drawAll = () => {
    if (document.hidden) return;
    each("figure.chart", (figure) => draw(figure).then(() => heard(true), () => heard(false)));
  };
  const redraw = () => {
    plots.forEach((plot) => plot.destroy());
    plots.clear();
    drawAll();
  };
  if (window.uPlot && document.querySelector("figure.chart")) {
    drawAll();
    setInterval(drawAll, EVERY_MS);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    let resized = 0;
    addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(redraw, 200); });
  }

  // Keys. Not while somebody writes, and not together with keys of the browser.
  const GO = { o: "/", t: "/topics", g: "/groups", m: "/messages", d: "/dead-letters", a: "/alerts" };
  let after = "", at = -1;
  const rows = () => [...document.querySelectorAll("main tbody tr")];
  const move = (by) => {
    const all = rows();
    if (all.length === 0) return;
    all[at]?.classList.remove("at");
    at = Math.max(0, Math.min(all.length - 1, at + by));
    all[at].classList.add("at");
    all[at].scrollIntoView({ block: "nearest" });
    all[at].querySelector("a")?.focus({ preventScroll: true });
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, dialog")) return;
    const before = after;
    after = "";
    const key = event.key;
    if (before === "g" && GO[key]) location.href = GO[key];
    else if (key === "g") after = "g";
    else if (key === "/") document.querySelector("input[type=search]")?.focus();
    else if (key === "j") move(1);
    else if (key === "k") move(-1);
    else if (key === "t") [...document.querySelectorAll("[data-set-theme]")].find((link) => !link.hasAttribute("aria-current"))?.click();
    else if (key === "?") byId("keys")?.showModal();
    else return;
    if (key !== "g") event.preventDefault();
  });
})();
