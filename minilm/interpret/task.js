document.addEventListener("DOMContentLoaded", () => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const S = D.pieces.length, N = D.decisions.length, kinds = Object.keys(D.maps), rows = D.map_rows ?? D.labels;
  const state = { selected: 0, kind: 0 };
  const largest = D.decisions.map((d) => Math.max(1e-12, ...d.values.map(Math.abs)));
  const overall = Math.max(...largest);
  const short = (pieces) => pieces.filter((piece) => [...piece].length <= 1).length > pieces.length / 2;
  const apart = (pieces) => (short(pieces) ? pieces : pieces.map((piece) => (/\s$/.test(piece) ? piece : piece + " "))); // a line breaks between words
  const name = (s) => edged(D.pieces[s]), chosen = () => D.decisions[state.selected];
  const towards = (d) => (d.foil === null ? d.answer : `${d.answer} and not ${d.foil}`);
  function select(n) { state.selected = Math.max(0, Math.min(N - 1, n)); drawAll(); }
  function remove(id) { $(id).remove(); document.querySelector(`nav a[href="#${id}"]`)?.remove(); }
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || N === 1) return;
    event.preventDefault();
    select(state.selected + step);
  });

  // --- the selected decision -----------------------------------------------------------------------------------------
  $("quote").textContent = D.text;
  $("about-decisions").textContent = D.about;
  redraw.push(() => {
    const d = chosen(), parts = N > 1 ? [el("span", {}, `${state.selected + 1} of ${N}`)] : [];
    parts.push(el("b", {}, edged(D.answer === d.answer || N > 1 ? D.labels[state.selected] : D.answer)));
    parts.push(el("span", {}, `${d.measure} = ${digits(d.output, 3)}`));
    $("bar").replaceChildren(...parts);
    $("pieces-title").textContent = `What each piece of the input did for ${towards(d)}`;
    const sum = d.values.reduce((a, b) => a + b, 0), line = $("completeness");
    line.textContent = d.baseline === null
      ? `The pieces sum to ${digits(sum, 4)}${d.shares.length ? "" : `, which is all of ${d.measure}`}: an exact sum.`
      : `The pieces sum to ${digits(sum, 4)} = ${d.measure} ${digits(d.output, 4)} − baseline ${digits(d.baseline, 4)}, with an error of ${d.error.toExponential(1)} after ${d.steps} gradients${Math.abs(d.error) > 0.01 * Math.max(1, Math.abs(d.output - d.baseline)) ? ": not complete, this decision leaps on the way" : ""}.`;
    meters($("choices"), d.choices.map(([label, p]) => [label, p, percent(p), label === d.answer]));
  });
  if (N > 1) {
    strip("strip-decisions", apart(D.labels), { short: short(D.labels), click: select, selected: () => state.selected, paint: (n) => ["", `${towards(D.decisions[n])}: ${digits(D.decisions[n].output, 3)}`] });
  } else $("strip-decisions").remove();
  strip("strip-pieces", apart(D.pieces), {
    short: short(D.pieces), click: () => {}, selected: () => -1,
    paint: (s) => { const v = chosen().values[s], [which, strength] = signed(v, largest[state.selected]); return [colour(which, 0.8 * strength), `${name(s)}: ${digits(v, 4)}`]; },
  });
  redraw.push(() => {
    const most = digits(largest[state.selected], 2), line = el("i");
    line.style.background = `linear-gradient(90deg, ${colour("down", 0.8)}, transparent, ${colour("up", 0.8)})`;
    $("legend-pieces").replaceChildren(`−${most}`, line, most);
  });

  // --- shares --------------------------------------------------------------------------------------------------------
  if (D.decisions.some((d) => d.shares.length)) {
    redraw.push(() => {
      const d = chosen(), most = Math.max(1e-12, ...d.shares.map(([, v]) => Math.abs(v)));
      meters($("parts"), [...d.shares, [d.measure, d.output]].map(([label, v]) => [label, Math.min(1, Math.abs(v) / most), digits(v, 3)]));
      [...$("parts").querySelectorAll(".meter i")].forEach((bar, n) => { const v = n < d.shares.length ? d.shares[n][1] : d.output; bar.style.background = colour(v >= 0 ? "up" : "down", n < d.shares.length ? 0.8 : 0.35); });
    });
  } else remove("shares");

  // --- all decisions, and where the model looked ---------------------------------------------------------------------
  if (N > 1) {
    map("map-decisions", {
      rows: () => N, cols: () => S, cell: (r, c) => { const [which, strength] = signed(D.decisions[r].values[c], overall); return [ink(which), strength]; },
      says: (r, c) => `${name(c)} → ${towards(D.decisions[r])}: ${digits(D.decisions[r].values[c], 4)}`,
      click: (r) => select(r), rowNames: (r) => edged(D.labels[r]), colNames: name, marked: () => [state.selected, -1],
    });
  } else remove("table");
  if (kinds.length) {
    const now = () => D.maps[kinds[state.kind]], most = () => Math.max(1e-12, ...now().flat().map(Math.abs));
    if (kinds.length > 1) choices("kinds", kinds, () => state.kind, (k) => { state.kind = k; });
    redraw.push(() => { $("looked-title").textContent = kinds[state.kind]; });
    map("map-looked", {
      rows: () => now().length, cols: () => S, cell: (r, c) => [ink(kinds[state.kind].startsWith("attention") || now()[r][c] >= 0 ? "map" : "down"), Math.sqrt(Math.abs(now()[r][c]) / most())],
      says: (r, c) => `${rows[r]} → ${name(c)}: ${digits(now()[r][c], 3)}`, click: (r) => { if (!D.map_rows) select(r); },
      rowNames: (r) => edged(rows[r]), colNames: name, version: () => state.kind, marked: () => [D.map_rows ? -1 : state.selected, -1],
    });
  } else remove("looked");
  drawn();
});
