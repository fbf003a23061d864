"use strict";
// What both pages are drawn with. `redraw` is what follows a selection, a choice, the theme or the window's size.
const root = document.documentElement, $ = (id) => document.getElementById(id), redraw = [];

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children); // strings become text: no token is read as markup
  return node;
}
function svg(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
if (location.protocol === "about:") document.querySelector("nav").addEventListener("click", (event) => {
  const name = event.target.getAttribute("href"); // in a notebook's frame it would lead to the notebook's own page
  if (name) { event.preventDefault(); document.querySelector(name).scrollIntoView(); }
});
const colour = (name, alpha) => `rgba(${getComputedStyle(root).getPropertyValue("--" + name)}, ${Math.max(0, Math.min(1, alpha)).toFixed(3)})`;
const plain = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
const digits = (x, n) => (x === null || x === undefined ? "–" : Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(1) : x.toFixed(n));
const percent = (p) => (p >= 0.9995 ? "100%" : p > 0 && p < 1e-5 ? "<0.001%" : p >= 0.0095 ? (100 * p).toFixed(p >= 0.0995 ? 0 : 1) + "%" : (100 * p).toPrecision(2) + "%");
const visible = (s) => s.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/ /g, "␣").replace(/[\u0000-\u001f\u007f]/g, "�");
const edged = (s) => visible(s.match(/^\s*/)[0]) + s.trim() + (s.trim() ? visible(s.match(/\s*$/)[0]) : "");
function unpack(map) {
  const raw = atob(map.data), levels = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) levels[i] = raw.charCodeAt(i);
  return { ...map, levels, value: (i) => map.low + (levels[i] / 255) * (map.high - map.low) };
}
const tip = $("tip");
function say(event, text) {
  tip.textContent = text; tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(innerWidth - box.width - 6, event.clientX + 14)) + "px";
  tip.style.top = (event.clientY + box.height + 24 > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18) + "px";
}
const hush = () => { tip.hidden = true; };

// A line of pieces of a text: `paint(t)` gives [colour, tooltip], `click(t)` follows a click, `selected()` is one of them or -1.
function strip(id, pieces, { paint, click, selected, short, next, hover }) {
  const host = $(id), nodes = [], T = pieces.length;
  host.classList.toggle("words", !short);
  for (let t = 0; t < T + (next ? 1 : 0); t++) {
    const node = el("span", { class: "tok" + (t === T ? " next" : ""), role: "button", tabindex: "0", "data-t": t });
    if (t === T) node.textContent = "next?";
    else for (const piece of pieces[t].split(/(\s)/)) {
      if (!piece) continue;
      if (/\s/.test(piece)) {
        const shown = el("span", { class: "faint" }, piece === " " && !short ? " " : visible(piece));
        node.append(shown);
        if (piece === "\n") node.dataset.end = "1";
      } else node.append(piece);
    }
    node.addEventListener("click", () => click(t));
    node.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); click(t); } });
    node.addEventListener("pointerenter", (event) => { if (hover) hover(t); say(event, paint(t)[1]); });
    node.addEventListener("pointerleave", () => { if (hover) hover(-1); hush(); });
    nodes.push(node); host.append(node);
    host.append(el(node.dataset.end ? "br" : /\s$/.test(pieces[t] ?? "") ? "wbr" : "span"));
  }
  redraw.push(() => nodes.forEach((node, t) => {
    const [background, text] = paint(t);
    node.style.background = background || "transparent";
    node.setAttribute("aria-label", text);
    node.classList.toggle("selected", t === selected());
    node.setAttribute("aria-pressed", t === selected());
  }));
}
function meters(host, rows) {
  host.replaceChildren(...rows.map(([label, part, value, actual]) => {
    const bar = el("i"); bar.style.width = Math.max(0, Math.min(100, 100 * part)) + "%";
    return el("div", { class: "row" + (actual ? " actual" : "") }, el("code", { title: label }, label), el("div", { class: "meter" }, bar), el("output", {}, value));
  }));
}
function choices(id, labels, get, set) {
  const nodes = labels.map((label, i) => el("button", { type: "button", onclick: () => { set(i); for (const draw of redraw) draw(); } }, label));
  $(id).replaceChildren(...nodes);
  redraw.push(() => nodes.forEach((node, i) => node.setAttribute("aria-pressed", get() === i)));
}
function legend(id, low, high, from, to) {
  redraw.push(() => {
    const line = el("i"); line.style.background = `linear-gradient(90deg, ${from()}, ${to()})`;
    $(id).replaceChildren(low, line, high);
  });
}

// A map of numbers on a canvas, with tokens at its edges: cell(r, c) is [colour name, strength] or null.
function map(id, { rows, cols, cell, says, click, rowNames, colNames, marked, size, high, version }) {
  const host = $(id), canvas = el("canvas", { tabindex: "0", role: "img" });
  host.append(canvas);
  const letters = (names, n, most) => { let long = 1; for (let i = 0; i < n; i++) long = Math.max(long, [...names(i)].length); return Math.min(most, long); };
  const NAME = 12, FEW = 80; // pixels that a name takes; as many tokens are all named, and the map is scrolled where it is wide
  let left = 0, top = 0, right = 0, long = 1;
  function geometry() {
    left = rowNames ? 12 + 7.4 * letters(rowNames, rows(), 12) : 0;
    long = colNames ? letters(colNames, cols(), 9) : 0;
    top = long ? 14 + 6.6 * long : 0;
    right = long > 1 ? 3.2 * long : 0; // the last names lean over the edge
    const found = cellSize();
    if (!rowNames || found.w >= NAME || Math.max(rows(), cols()) > FEW) return found;
    return { w: NAME, h: NAME };
  }
  function cellSize() {
    const room = host.clientWidth - left - right - 2 || 700, fits = high ? room / cols() : Math.min(room / cols(), 600 / rows());
    const w = Math.max(size?.least ?? 3, Math.min(size?.most ?? 26, Math.floor(fits)));
    const h = high ? Math.max(1, Math.floor(high / rows())) : w;
    return { w, h };
  }
  let kept = null, known = "";
  function cells(R, C, w, h) { // the numbers alone, kept until they change: a selection only moves the frame over them
    const key = [R, C, w, h, plain("map"), version ? version() : ""].join();
    if (key === known) return kept;
    kept = document.createElement("canvas"); known = key;
    const g = kept.getContext("2d"), gap = w > 6 && h > 3 ? 1 : 0, fine = !gap; // small cells: a pixel each, made larger later
    kept.width = fine ? C : w * C; kept.height = fine ? R : h * R;
    for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) {
      const found = cell(r, c);
      if (!found || found[1] <= 0.002) continue;
      g.fillStyle = found[0] + Math.min(1, found[1]).toFixed(3) + ")";
      if (fine) g.fillRect(c, r, 1, 1); else g.fillRect(c * w, r * h, w - gap, h - gap);
    }
    return kept;
  }
  function draw() {
    const { w, h } = geometry(), R = rows(), C = cols(), scale = Math.min(2, devicePixelRatio || 1);
    const W = left + w * C + right + 1, H = top + h * R + 1;
    canvas.width = W * scale; canvas.height = H * scale; canvas.style.width = W + "px"; canvas.style.height = H + "px";
    const g = canvas.getContext("2d"); g.scale(scale, scale);
    g.fillStyle = plain("raised"); g.fillRect(left, top, w * C, h * R);
    g.imageSmoothingEnabled = false;
    g.drawImage(cells(R, C, w, h), left, top, w * C, h * R);
    g.font = "12px ui-monospace, 'DejaVu Sans Mono', monospace"; g.textBaseline = "middle"; g.fillStyle = plain("soft");
    const each = Math.ceil(NAME / w); // where cells are small, not every one has its name
    if (rowNames) { g.textAlign = "right"; for (let r = 0; r < R; r += Math.ceil(NAME / h)) g.fillText(cut(rowNames(r), 12), left - 6, top + r * h + h / 2, left - 8); }
    if (colNames) for (let c = 0; c < C; c += each) {
      g.save(); g.translate(left + c * w + w / 2, top - (long > 1 ? 5 : 8)); g.textAlign = long > 1 ? "left" : "center";
      if (long > 1) g.rotate(-Math.PI / 2.6);
      g.fillText(cut(colNames(c), 9), 0, 0); g.restore();
    }
    const [row, col] = marked ? marked() : [-1, -1];
    g.strokeStyle = plain("mark"); g.lineWidth = 1.5;
    if (row >= 0) g.strokeRect(left + 0.5, top + row * h - 0.5, w * C - 1, Math.max(2, h));
    if (col >= 0) g.strokeRect(left + col * w - 0.5, top + 0.5, w, h * R - 1);
  }
  function at(event) {
    const box = canvas.getBoundingClientRect(), { w, h } = geometry();
    const c = Math.floor((event.clientX - box.left - left) / w), r = Math.floor((event.clientY - box.top - top) / h);
    return r >= 0 && r < rows() && c >= 0 && c < cols() ? [r, c] : null;
  }
  canvas.addEventListener("pointermove", (event) => { const where = at(event); if (where) { say(event, says(...where)); } else hush(); });
  canvas.addEventListener("pointerleave", hush);
  canvas.addEventListener("click", (event) => { const where = at(event); if (where) click(...where); });
  redraw.push(draw);
}
const cut = (s, n) => ([...s].length > n ? [...s].slice(0, n - 1).join("") + "…" : s);
const ink = (which) => `rgba(${plain(which)}, `;
const signed = (v, most) => [v >= 0 ? "up" : "down", Math.abs(v) / most];
function drawAll() { for (const draw of redraw) draw(); }
function drawn() { // when all that is redrawn is known
  $("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    drawAll();
  });
  drawAll();
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 120); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  root.dataset.ready = "1";
}
