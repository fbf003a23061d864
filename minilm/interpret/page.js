document.addEventListener("DOMContentLoaded", () => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const T = D.tokens.length;
  const places = D.surprisal.places, last = places[places.length - 1];
  const state = { selected: first(), hover: -1, method: 0, layer: 0, head: 0, gate: 0, cell: 0, unit: 0, deep: null };
  if (D.methods[0].places.length < places.length) state.method = 1;

  // --- small tools ---------------------------------------------------------------------------------------------------
  const spelled = (id) => edged(D.spellings[id] ?? "#" + id);
  const name = (t) => (t >= T ? "the next token" : edged(D.tokens[t]));
  function first() {
    let best = places[0], most = -1;
    for (const t of places) if (t < T && t > 1 && D.surprisal.bits[t] > most) { most = D.surprisal.bits[t]; best = t; }
    return best;
  }

  // --- the selection -------------------------------------------------------------------------------------------------
  function select(t) {
    if (t < 0 || t > last) return;
    state.selected = t;
    for (const draw of redraw) draw();
  }
  function hover(t) {
    state.hover = t;
    for (const node of document.querySelectorAll(".tok")) node.classList.toggle("hover", +node.dataset.t === t);
  }
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    select(state.selected + step);
    const parent = document.activeElement?.closest?.(".strip");
    parent?.querySelector(`[data-t="${state.selected}"]`)?.focus();
  });
  const short = D.tokens.filter((s) => s.length <= 1).length > T / 2;

  const tokens = (id, paint, next) => strip(id, D.tokens, { paint, click: select, selected: () => state.selected, hover, short, next: next && last === T });
  function missing(id, why) { // no section that says only what the model has not: a line at the end of the page
    const title = $(id).querySelector("h2").textContent;
    $(id).remove();
    document.querySelector(`nav a[href="#${id}"]`)?.remove();
    $("lacks").append(el("li", { "data-part": id }, el("b", {}, title), `: ${why}.`));
    $("lacks").hidden = false;
  }

  // --- head of the page ----------------------------------------------------------------------------------------------
  $("quote").textContent = D.text;
  const S = D.surprisal, numberOf = new Map(places.map((t, n) => [t, n]));
  redraw.push(() => {
    const t = state.selected, n = numberOf.get(t), parts = [el("span", {}, t < T ? `token ${t} of ${T}` : "after the end"), el("b", {}, name(t))];
    if (t < T && S.bits[t] !== null) parts.push(el("span", {}, `${digits(S.bits[t], 2)} bits, p ${percent(2 ** -S.bits[t])}, rank ${S.rank[t].toLocaleString("en")}`));
    else if (t < T) parts.push(el("span", {}, D.causal ? "the first token is predicted from nothing" : "not predicted"));
    if (n !== undefined) parts.push(el("span", {}, `entropy ${digits(S.entropy[n], 2)} bits`));
    $("bar").replaceChildren(...parts);
  });

  // --- surprisal -----------------------------------------------------------------------------------------------------
  document.querySelector('[data-about="surprisal"]').textContent = D.causal
    ? "How little the model expected each token, from those before it: −log₂ of its probability. A token with 10 bits was one in a thousand. The sum is what the text would cost to store with this model."
    : "How little the model expected each token, from all others, with a mask in its place: −log₂ of its probability. The sum is the pseudo-log-likelihood.";
  const predicted = S.bits.filter((b) => b !== null), high = Math.max(4, ...predicted);
  $("totals").append(...[["bits in all", digits(S.total, 1)], ["bits a token", digits(S.mean, 3)], ["perplexity", digits(S.perplexity, 2)], ["tokens", T]]
    .map(([label, value]) => el("div", {}, el("b", {}, String(value)), label)));
  tokens("strip-surprisal", (t) => (t >= T || S.bits[t] === null ? ["", t >= T ? "what comes next" : `${name(t)}: not predicted`]
    : [colour("heat", (0.85 * S.bits[t]) / high), `${name(t)}: ${digits(S.bits[t], 2)} bits, rank ${S.rank[t]}`]), true);
  legend("legend-surprisal", "0 bits", digits(high, 1) + " bits", () => colour("heat", 0), () => colour("heat", 0.85));
  redraw.push(() => {
    const w = Math.max(7, Math.min(26, Math.floor(580 / (T + 1)))), H = 150, base = H - 26, picture = svg("svg", { width: 34 + w * T + 4, height: H, role: "img", "aria-label": "Surprisal of each token in bits" });
    for (let y = 0; y <= high; y += high > 12 ? 5 : 2) {
      const at = base - (y / high) * (base - 10);
      picture.append(svg("line", { x1: 30, x2: 34 + w * T, y1: at, y2: at, stroke: plain("line") }), svg("text", { x: 24, y: at + 4, "text-anchor": "end" }, y));
    }
    for (let t = 0; t < T; t++) {
      const bits = S.bits[t] ?? 0, tall = (bits / high) * (base - 10), bar = svg("rect", { x: 32 + t * w, y: base - tall, width: w - 2, height: Math.max(0.5, tall), rx: 1.5, fill: colour("heat", t === state.selected ? 1 : 0.6) });
      const area = svg("rect", { x: 32 + t * w, y: 0, width: w, height: H, fill: "transparent", cursor: "pointer" });
      area.addEventListener("click", () => select(t));
      area.addEventListener("pointermove", (event) => { hover(t); say(event, `${name(t)}: ${digits(S.bits[t], 2)} bits`); });
      area.addEventListener("pointerleave", () => { hover(-1); hush(); });
      picture.append(bar);
      if (w >= 11 || t === state.selected) picture.append(svg("text", { x: 32 + t * w + w / 2, y: H - 10, "text-anchor": "middle" }, cut(name(t), w > 20 ? 3 : 1)));
      picture.append(area);
    }
    $("bars").replaceChildren(picture);
    const n = numberOf.get(state.selected);
    $("expected-title").textContent = n === undefined ? "What was expected" : `Expected ${state.selected < T ? "in the place of " + name(state.selected) : "after the end"}`;
    if (n === undefined) { $("expected").replaceChildren(el("p", { class: "note" }, D.causal ? "The first token is predicted from nothing. Select another one." : "This token is not predicted. Select another one.")); return; }
    const actual = D.ids[state.selected], rows = S.top_ids[n].map((id, k) => [spelled(id), S.top_probabilities[n][k], percent(S.top_probabilities[n][k]), id === actual && state.selected < T]);
    if (state.selected < T && !S.top_ids[n].includes(actual)) { const p = 2 ** -S.bits[state.selected]; rows.push([spelled(actual), p, percent(p), true]); }
    meters($("expected"), rows);
    if (state.selected < T) $("expected").append(el("p", { class: "note" }, `The token that came, in orange, was number ${S.rank[state.selected].toLocaleString("en")}.`));
  });

  // --- comparison ----------------------------------------------------------------------------------------------------
  if (D.comparison) {
    const C = D.comparison, most = Math.max(1, ...C.gain.filter((each) => each !== null).map(Math.abs));
    $("about-comparison").textContent = `The same text with another model: ${C.model}. Blue tokens cost the other model fewer bits, red ones more.`;
    $("totals-comparison").append(...[["bits, this model", digits(S.total, 1)], ["bits, the other", digits(C.other.total_bits, 1)], ["bits a token", digits(S.mean, 3)], ["the other", digits(C.other.mean_bits, 3)]]
      .map(([label, value]) => el("div", {}, el("b", {}, String(value)), label)));
    tokens("strip-comparison", (t) => {
      const n = numberOf.get(t), apart = n === undefined ? "" : `, predictions ${digits(C.divergence[n], 3)} bits apart`;
      if (t >= T || C.gain[t] === null) return ["", t >= T ? `what comes next${apart}` : `${name(t)}: not predicted`];
      return [colour(C.gain[t] >= 0 ? "up" : "down", (0.8 * Math.abs(C.gain[t])) / most), `${name(t)}: ${digits(S.bits[t], 2)} and ${digits(C.other.bits[t], 2)} bits${apart}`];
    }, true);
    legend("legend-comparison", `${digits(most, 1)} bits more`, `${digits(most, 1)} fewer`, () => colour("down", 0.8), () => colour("up", 0.8));
    redraw.push(() => {
      const n = numberOf.get(state.selected), actual = D.ids[state.selected];
      for (const [id, ids, probabilities] of [["expected-this", S.top_ids, S.top_probabilities], ["expected-other", C.other.top_ids, C.other.top_probabilities]]) {
        if (n === undefined) $(id).replaceChildren(el("p", { class: "note" }, "This token is not predicted. Select another one."));
        else meters($(id), ids[n].map((each, k) => [spelled(each), probabilities[n][k], percent(probabilities[n][k]), each === actual && state.selected < T]));
      }
    });
  } else { $("comparison").remove(); document.querySelector('nav a[href="#comparison"]')?.remove(); }

  // --- attribution ---------------------------------------------------------------------------------------------------
  choices("method", D.methods.map((m) => m.name), () => state.method, (i) => { state.method = i; });
  const rowIn = D.methods.map((m) => new Map(m.places.map((t, n) => [t, n])));
  const largest = D.methods.map((m) => m.values.map((row) => Math.max(1e-12, ...row.map(Math.abs))));
  tokens("strip-attribution", (t) => {
    const m = D.methods[state.method], n = rowIn[state.method].get(state.selected);
    if (n === undefined || t >= T) return ["", t >= T ? "explain the next token" : name(t)];
    const [which, strength] = signed(m.values[n][t], largest[state.method][n]);
    return [colour(which, 0.8 * strength), `${name(t)}: ${digits(m.values[n][t], 4)} nats`];
  }, true);
  redraw.push(() => {
    const m = D.methods[state.method], n = rowIn[state.method].get(state.selected), line = $("completeness");
    if (n === undefined) {
      line.textContent = numberOf.has(state.selected) ? `Computed for ${m.places.map(name).join(", ")} only: all predictions of this model take long; --attribute all does it.` : "This token is not predicted. Select another one.";
      return;
    }
    const about = state.selected < T ? name(state.selected) : `${spelled(m.targets[n])}, the most probable next token`, sum = m.values[n].reduce((a, b) => a + b, 0);
    line.textContent = m.errors[n] === null ? `Prediction of ${about}: log p = ${digits(m.outputs[n], 3)} nats. The sum is ${digits(sum, 3)}; this method promises nothing of it.`
      : `Prediction of ${about}: the attributions sum to ${digits(sum, 4)} = log p ${digits(m.outputs[n], 4)} − baseline ${digits(m.baselines[n], 4)}, with an error of ${m.errors[n].toExponential(1)} nats after ${m.steps[n]} gradients${Math.abs(m.errors[n]) > 0.01 * Math.max(1, Math.abs(m.outputs[n] - m.baselines[n])) ? ": not complete, this prediction leaps on the way" : ""}.`;
  });
  map("map-attribution", {
    rows: () => D.methods[state.method].places.length, cols: () => T,
    cell: (r, c) => { const [which, strength] = signed(D.methods[state.method].values[r][c], largest[state.method][r]); return [ink(which), strength]; },
    says: (r, c) => `${name(c)} → ${name(D.methods[state.method].places[r])}: ${digits(D.methods[state.method].values[r][c], 4)} nats`,
    click: (r) => select(D.methods[state.method].places[r]), rowNames: (r) => (D.methods[state.method].places[r] < T ? name(D.methods[state.method].places[r]) : "next"), colNames: name,
    version: () => state.method, marked: () => [rowIn[state.method].get(state.selected) ?? -1, -1],
  });

  // --- attention -----------------------------------------------------------------------------------------------------
  function square(id, stripId, value, version) {
    const most = (r) => { let m = 1e-9; for (let c = 0; c < T; c++) m = Math.max(m, value(r, c)); return m; };
    tokens(stripId, (t) => { const r = Math.min(state.selected, T - 1); return [colour("map", (0.8 * value(r, t)) / most(r)), `${name(r)} → ${name(t)}: ${percent(value(r, t))}`]; });
    map(id, { rows: () => T, cols: () => T, cell: (r, c) => [ink("map"), Math.sqrt(value(r, c))], says: (r, c) => `${name(r)} → ${name(c)}: ${percent(value(r, c))}`,
      click: (r) => select(r), rowNames: name, colNames: name, version, marked: () => [Math.min(state.selected, T - 1), -1] });
  }
  if (D.attention) {
    const A = unpack(D.attention), [L, H] = A.shape, thumbnails = [];
    const value = (r, c) => A.value(((state.layer * H + state.head) * T + r) * T + c);
    for (let l = 0; l < L; l++) {
      const line = el("div", {}, el("span", {}, `layer ${l + 1}`));
      for (let h = 0; h < H; h++) {
        const canvas = el("canvas", { width: T, height: T });
        const button = el("button", { type: "button", "aria-label": `layer ${l + 1}, head ${h + 1}`, title: `layer ${l + 1}, head ${h + 1}`, onclick: () => { state.layer = l; state.head = h; for (const draw of redraw) draw(); } }, canvas);
        thumbnails.push([button, canvas, l, h]); line.append(button);
      }
      $("heads").append(line);
    }
    let painted = "";
    redraw.push(() => {
      const theme = plain("map");
      for (const [button, canvas, l, h] of thumbnails) {
        button.setAttribute("aria-pressed", l === state.layer && h === state.head);
        if (painted === theme) continue;
        const g = canvas.getContext("2d"), image = g.createImageData(T, T), [red, green, blue] = theme.split(",").map(Number);
        for (let i = 0; i < T * T; i++) image.data.set([red, green, blue, 255 * Math.sqrt(A.levels[(l * H + h) * T * T + i] / 255)], 4 * i);
        g.putImageData(image, 0, 0);
      }
      painted = theme;
      $("head-title").textContent = `Layer ${state.layer + 1}, head ${state.head + 1}`;
    });
    square("map-attention", "strip-attention", value, () => [state.layer, state.head]);
    const R = unpack(D.rollout);
    square("map-rollout", "strip-rollout", (r, c) => R.value(r * T + c));
  } else { missing("attention", D.lacks.attention); missing("rollout", D.lacks.rollout); }

  // --- gates and cells -----------------------------------------------------------------------------------------------
  if (D.traces) {
    const G = D.traces, names = Object.keys(G.maps), maps = names.map((n) => unpack(G.maps[n])), [L, U] = maps[0].shape;
    state.gate = Math.max(0, names.indexOf("cell c") >= 0 ? names.indexOf("cell c") : names.indexOf("state h"));
    const value = (gate, u, t) => maps[gate].value((state.cell * U + u) * T + t), isGate = (g) => names[g].includes("gate");
    const painted = (g, v) => (isGate(g) ? ["map", v] : [v >= 0 ? "up" : "down", Math.abs(v) / maps[g].high]);
    function liveliest() {
      let best = 0, most = -1;
      for (let u = 0; u < U; u++) {
        let sum = 0, squares = 0;
        for (let t = 0; t < T; t++) { const v = value(state.gate, u, t); sum += v; squares += v * v; }
        if (squares / T - (sum / T) ** 2 > most) { most = squares / T - (sum / T) ** 2; best = u; }
      }
      return best;
    }
    state.unit = liveliest();
    if (L > 1) choices("layers", Array.from({ length: L }, (_, l) => `layer ${l + 1}`), () => state.cell, (i) => { state.cell = i; state.unit = liveliest(); });
    choices("gates", names, () => state.gate, (i) => { state.gate = i; });
    tokens("strip-traces", (t) => { const v = value(state.gate, state.unit, t), [which, s] = painted(state.gate, v); return [colour(which, 0.8 * s), `${name(t)}: ${digits(v, 2)}`]; });
    redraw.push(() => {
      const g = state.gate, line = el("i"), m = maps[g];
      line.style.background = isGate(g) ? `linear-gradient(90deg, ${colour("map", 0)}, ${colour("map", 0.8)})` : `linear-gradient(90deg, ${colour("down", 0.8)}, transparent, ${colour("up", 0.8)})`;
      $("legend-traces").replaceChildren(digits(m.low, 1), line, digits(m.high, 1));
      const shut = G.shut[names[g]], some = U < G.of ? `, the ${U} of ${G.of} units that move most` : "";
      $("gate-title").textContent = `${names[g]}, layer ${state.cell + 1}${some}` + (shut ? `: shut (below 0.1) ${percent(shut[state.cell])}, open (above 0.9) ${percent(G.open[names[g]][state.cell])} of the time` : "");
      $("unit-title").textContent = `Unit ${G.units[state.cell][state.unit]} of layer ${state.cell + 1}`;
      const w = Math.max(7, Math.min(26, Math.floor(826 / T))), H = 64, left = 128, picture = svg("svg", { width: left + w * T + 8, height: names.length * (H + 8) + 22, role: "img", "aria-label": "Gates and cell of the unit over the text" });
      names.forEach((label, i) => {
        const y = (v) => i * (H + 8) + 6 + (1 - (v - maps[i].low) / (maps[i].high - maps[i].low)) * (H - 8), zero = y(Math.max(0, maps[i].low));
        picture.append(svg("text", { x: left - 10, y: i * (H + 8) + H / 2 + 2, "text-anchor": "end" }, label), svg("line", { x1: left, x2: left + w * T, y1: zero, y2: zero, stroke: plain("line") }));
        const points = Array.from({ length: T }, (_, t) => `${(left + t * w + w / 2).toFixed(1)},${y(value(i, state.unit, t)).toFixed(1)}`).join(" ");
        picture.append(svg("polyline", { points, fill: "none", stroke: colour(isGate(i) ? "map" : "up", 1), "stroke-width": i === state.gate ? 2.4 : 1.4, "stroke-linejoin": "round" }));
      });
      const at = Math.min(state.selected, T - 1);
      picture.append(svg("line", { x1: left + at * w + w / 2, x2: left + at * w + w / 2, y1: 0, y2: names.length * (H + 8), stroke: plain("mark"), "stroke-dasharray": "3 3" }));
      for (let t = 0; t < T; t++) if (w >= 9) picture.append(svg("text", { x: left + t * w + w / 2, y: names.length * (H + 8) + 12, "text-anchor": "middle" }, cut(name(t), w > 20 ? 3 : 1)));
      $("lines").replaceChildren(picture);
    });
    map("map-traces", { rows: () => U, cols: () => T, high: Math.min(320, 9 * U), size: { least: 6, most: 40 }, cell: (u, t) => { const [which, s] = painted(state.gate, value(state.gate, u, t)); return [ink(which), s]; },
      says: (u, t) => `unit ${G.units[state.cell][u]}, ${name(t)}: ${digits(value(state.gate, u, t), 2)}`, click: (u, t) => { state.unit = u; select(t); }, colNames: name, version: () => [state.cell, state.gate], marked: () => [state.unit, Math.min(state.selected, T - 1)] });
  } else missing("traces", D.lacks.traces);

  // --- logit lens ----------------------------------------------------------------------------------------------------
  if (D.lens) {
    document.querySelector('[data-about="lens"]').textContent = (D.causal ? "What the model would predict next, after each token, if it ended after an earlier layer. " : "What the model would put in each place, which it sees unmasked here, if it ended after an earlier layer. ") +
      "The darker, the more probable does that layer hold what the last layer ranks first. Select a cell for its alternatives.";
    const Z = D.lens, table = el("table", { class: "lens" }), cells = [];
    for (let l = Z.layers.length - 1; l >= 0; l--) {
      const line = el("tr", {}, el("th", { scope: "row" }, Z.layers[l]));
      for (let t = 0; t < T; t++) {
        const button = el("button", { type: "button", onclick: () => { state.deep = [l, t]; select(t); } }, cut(spelled(Z.top_ids[l][t][0]), 9));
        const says = `${Z.layers[l]}, at ${name(t)}:\n` + Z.top_ids[l][t].map((id, k) => `${spelled(id)}  ${percent(Z.top_probabilities[l][t][k])}`).join("\n") + `\n${digits(Z.divergence[l][t], 2)} bits from the last layer`;
        button.addEventListener("pointerenter", (event) => say(event, says)); button.addEventListener("pointerleave", hush);
        cells.push([button, l, t]); line.append(el("td", {}, button));
      }
      table.append(line);
    }
    table.append(el("tr", { class: "read" }, el("th", { scope: "row" }, "token read"), ...D.tokens.map((_, t) => el("td", {}, cut(name(t), 9)))));
    $("lens-table").append(table);
    redraw.push(() => {
      const [l, t] = state.deep && state.deep[1] === state.selected ? state.deep : [Z.layers.length - 1, Math.max(0, Math.min(T - 1, state.selected - (D.causal ? 1 : 0)))];
      for (const [button, row, column] of cells) { button.style.background = colour("map", 0.75 * Z.final_probability[row][column]); button.classList.toggle("selected", row === l && column === t); }
      $("lens-title").textContent = `${Z.layers[l]}, ${D.causal ? "after" : "at"} ${name(t)}`;
      meters($("lens-top"), Z.top_ids[l][t].map((id, k) => [spelled(id), Z.top_probabilities[l][t][k], percent(Z.top_probabilities[l][t][k])]));
    });
  } else missing("lens", D.lacks.lens);

  // --- causes --------------------------------------------------------------------------------------------------------
  {
    const C = D.causes, L = C.ablation.length, heads = C.columns.filter((each) => each.startsWith("head ")).length, titles = { c: "cell c", h: "state h" };
    const what = C.foil === null ? `log p(${spelled(C.answer)})` : `logit(${spelled(C.answer)}) − logit(${spelled(C.foil)})`;
    $("about-causes").textContent = `Which parts the last prediction depends on: ${what} = ${digits(C.output, 3)}. ` + (heads
      ? "A row for each layer, a column for each head, and one for the network. Blue parts speak for it, red ones against it. Attention shows where a head looks; here it is taken out, and the model runs again."
      : "A row for each layer, a column for each gate and state, which is held at its mean over the text while the model runs again: what the prediction loses is what it owes to how that one moves. Blue parts speak for it, red ones against it.");
    const parts = (id, values, unit) => {
      const most = Math.max(1e-9, ...values.flat().map(Math.abs));
      map(id, { rows: () => L, cols: () => C.columns.length, cell: (r, c) => { const [which, s] = signed(values[r][c], most); return [ink(which), s]; }, says: (r, c) => `layer ${r + 1}, ${C.columns[c]}: ${digits(values[r][c], 3)} ${unit}`,
        click: (r, c) => { if (c < heads) { state.layer = r; state.head = c; for (const draw of redraw) draw(); } }, rowNames: (r) => `layer ${r + 1}`, colNames: (c) => (c < heads ? `${c + 1}` : heads ? "mlp" : C.columns[c].at(-1)), size: { least: 16, most: 34 }, marked: () => [-1, -1] });
    };
    parts("map-ablation", C.ablation, "nats");
    if (C.direct) parts("map-direct", C.direct, "of the logit"); else $("direct").remove();
    if (C.patching) {
      const from = C.corrupted.map((id, t) => (id === D.ids[t] ? null : `${spelled(id)} at ${t}`)).filter((each) => each);
      const part = titles[C.patched] ?? "residual stream";
      $("patching-title").textContent = `Patching: the text with ${from.join(", ")} instead, and one place of the ${part} taken from this text. 0 is no effect, 1 brings the prediction back.`;
      map("map-patching", { rows: () => L, cols: () => T, cell: (r, c) => { const [which, s] = signed(C.patching[r][c], 1); return [ink(which), s]; }, says: (r, c) => `${heads ? "after " : ""}layer ${r + 1}, at ${name(c)}: ${digits(C.patching[r][c], 3)}`,
        click: (r, c) => select(c), rowNames: (r) => `layer ${r + 1}`, colNames: name, marked: () => [-1, Math.min(state.selected, T - 1)] });
    } else $("patching").remove();
  }

  // --- nearest tokens ------------------------------------------------------------------------------------------------
  tokens("strip-neighbours", (t) => ["", name(t)]);
  redraw.push(() => {
    const near = state.selected < T ? D.neighbours[D.ids[state.selected]] : null;
    if (!near) $("near").replaceChildren(el("p", { class: "note" }, "Select a token of the text."));
    else meters($("near"), near.map(([id, cosine]) => [spelled(id), Math.max(0, cosine), digits(cosine, 3)]));
  });

  drawn();
});
