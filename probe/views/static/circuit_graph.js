// The circuit graph: nodes by layer, edges from what writes to what reads, of one model, the other, or both in one layout.
// A score below 0 says that the answer needs the edge or node, one above 0 that it hurts it.
function tpCircuitGraph(root, data, tell, dark) {
  const box = TP.frame(root, "circuit_graph", data, dark), state = box.twinprobe.state, theme = TP.theme(box);
  const both = data.models.length > 1, kinds = [...new Set(data.edges.map((edge) => edge.kind))];
  const most = Math.max(...data.edges.map((edge) => Math.min(...edge.ranks)));
  const labelled = new Map(data.nodes.map((node, at) => [node.label, at]));
  const known = (labels) => (labels || []).map((label) => labelled.get(label)).filter((at) => at !== undefined);
  Object.assign(state, { show: data.show ?? (both ? "both" : 0), k: Math.min(data.k ?? 60, most), sign: "all", kind: "all", side: "all",
    collapsed: false, find: "", node: labelled.get(data.node) ?? null, pinned: new Set(known(data.pinned)),
    groups: (data.groups || []).map(([name, labels]) => ({ name, members: new Set(known(labels)) })) });

  // Which edges are there, of which model: 0, 1, or "shared" where both have it among their strongest K.
  const inside = (edge, model) => edge.ranks[model] <= state.k;
  function owner(edge) {
    if (state.show !== "both") return inside(edge, state.show) ? state.show : null;
    const [one, two] = [inside(edge, 0), inside(edge, 1)];
    return one && two ? "shared" : one ? 0 : two ? 1 : null;
  }
  const score = (edge) => (state.show === "both" ? edge.scores.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a)) : edge.scores[state.show]);
  const passes = (edge) => owner(edge) !== null && (state.kind === "all" || edge.kind === state.kind) &&
    (state.side === "all" || !edge.side || edge.side === state.side) && (state.sign === "all" || (score(edge) < 0) === (state.sign === "helps"));
  const groupOf = (at) => state.groups.find((group) => group.members.has(at));
  const name = (at) => groupOf(at)?.name ?? (state.collapsed && data.nodes[at].kind === "head" ? `heads of L${data.nodes[at].layer}` : data.nodes[at].label);

  // The controls.
  const button = (text, on, click, title) => TP.make("button", { type: "button", "aria-pressed": String(on), click, title }, text);
  const bar = TP.make("div.bar"), count = TP.make("output", { "aria-live": "polite" });
  const slider = TP.make("input", { type: "range", min: 1, max: most, value: state.k, "aria-label": "strongest edges",
    input: () => { state.k = Number(slider.value); redraw(); } });
  const find = TP.make("input", { type: "search", placeholder: "find L3H1", "aria-label": "find a node", input: () => { state.find = find.value.trim().toLowerCase(); redraw(); } });
  const pick = (label, options, key) => TP.make("label", {}, TP.make("span.quiet", {}, label), TP.make("select", { "aria-label": label,
    change: (event) => { state[key] = event.target.value; redraw(); } }, options.map((one) => TP.make("option", { value: one }, one))));
  const picture = TP.shape("svg", { role: "img", "aria-label": data.title }), panel = TP.make("div.panel");
  box.append(TP.make("h3", {}, data.title), TP.make("div.quiet", {}, data.about), bar,
    TP.make("div.bar", {}, TP.make("span.quiet", {}, "strongest edges"), slider, pick("sign", ["all", "helps", "hurts"], "sign"),
      pick("into", ["all", ...kinds], "kind"), data.edges.some((edge) => edge.side) ? pick("from", ["all", "left", "right"], "side") : "", find), count,
    TP.make("div.side", {}, TP.make("div.wide", {}, picture, legend()), TP.make("div.narrow.more", {}, panel)));

  function legend() {
    const key = (colour, text) => TP.make("span", {}, TP.make("span.key", { style: `background:${colour}` }), text);
    return TP.make("div.bar.quiet", {}, both ? [key(theme.quiet, "in both"), key(theme.ar, `only in ${data.models[0]}`), key(theme.twin, `only in ${data.models[1]}`)] : [],
      "width: |score|; solid (below 0): the answer needs it; dashed (above 0): it hurts; drag moves, wheel zooms");
  }
  const colour = (edge) => { const who = owner(edge); return who === "shared" ? theme.quiet : who === 1 ? theme.twin : both ? theme.ar : score(edge) < 0 ? theme.ar : theme.twin; };

  // The layout: a row a layer from the input up, in a row the heads that have an edge, and the MLP on the right.
  let view = null, places = new Map(), drawn = [];
  function layout() {
    const used = new Set(data.edges.filter((edge) => edge.ranks.some((rank) => rank <= most)).flatMap((edge) => [edge.source, edge.target]));
    const rows = new Map();
    data.nodes.forEach((node, at) => { if (used.has(at)) rows.set(node.layer, [...(rows.get(node.layer) || []), at]); });
    const layers = [...rows.keys()].sort((a, b) => a - b), wide = Math.max(420, picture.clientWidth || 900), high = Math.max(38, Math.min(74, 640 / layers.length));
    places = new Map();
    layers.forEach((layer, row) => {
      const y = (layers.length - row - 0.5) * high, mine = rows.get(layer);
      const heads = mine.filter((at) => data.nodes[at].kind === "head").sort((a, b) => data.nodes[a].head - data.nodes[b].head), others = mine.filter((at) => data.nodes[at].kind !== "head");
      heads.forEach((at, turn) => places.set(at, { x: state.collapsed ? wide * 0.4 : 46 + ((wide * 0.8 - 46) * (turn + 0.5)) / heads.length, y }));
      others.forEach((at) => places.set(at, { x: data.nodes[at].kind === "mlp" ? wide * 0.9 : wide * 0.42, y: y + (data.nodes[at].kind === "mlp" ? -high * 0.24 : 0) }));
    });
    for (const group of state.groups) { // one place for all of a group
      const mine = [...group.members].map((at) => places.get(at)).filter(Boolean);
      const middle = (axis) => mine.reduce((sum, place) => sum + place[axis], 0) / Math.max(1, mine.length);
      const place = { x: middle("x"), y: middle("y"), group };
      for (const at of group.members) if (places.has(at)) places.set(at, place);
    }
    view = { x: 0, y: 0, w: wide, h: layers.length * high };
    return layers.map((layer, row) => ({ label: layer < 0 ? "input" : layer >= data.n_layers ? "logits" : `L${layer}`, y: (layers.length - row - 0.5) * high }));
  }

  function redraw() {
    TP.clear(bar).append(...(both ? [button("both", state.show === "both", () => { state.show = "both"; redraw(); })] : []),
      ...data.models.map((model, at) => button(model, state.show === at, () => { state.show = at; redraw(); })),
      button("one node a layer's heads", state.collapsed, () => { state.collapsed = !state.collapsed; draw(); }),
      button("pinned alone", state.alone === true, () => { state.alone = !state.alone; redraw(); }, "edges between pinned nodes"));
    const there = data.edges.map((edge) => passes(edge) && (!state.alone || (state.pinned.has(edge.source) && state.pinned.has(edge.target))));
    slider.value = state.k;
    count.textContent = summary(there);
    const touched = new Set();
    const largest = Math.max(1e-12, ...data.edges.filter((_, at) => there[at]).map((edge) => Math.abs(score(edge))));
    drawn.forEach(({ line, edge }, at) => {
      const near = state.node !== null && (edge.source === state.node || edge.target === state.node);
      line.setAttribute("class", `edge${there[at] ? "" : " off"}${near ? " near" : ""}`);
      if (!there[at]) return;
      touched.add(edge.source); touched.add(edge.target);
      line.setAttribute("stroke", colour(edge));
      line.setAttribute("stroke-width", (0.8 + 5 * Math.sqrt(Math.abs(score(edge)) / largest)).toFixed(2));
      line.setAttribute("stroke-dasharray", score(edge) > 0 ? "5 4" : "none");
    });
    picture.setAttribute("class", state.node !== null ? "quietly" : "");
    for (const [at, { shape, label }] of marks) {
      const found = !state.find || name(at).toLowerCase().includes(state.find) || data.nodes[at].label.toLowerCase().includes(state.find);
      shape.setAttribute("class", `node${state.pinned.has(at) ? " pinned" : ""}${state.node === at ? " chosen" : ""}${touched.has(at) && found ? "" : " dim"}`);
      label.setAttribute("class", touched.has(at) && found ? "" : "dim");
    }
    detail(there);
    const spelt = (members) => [...members].map((at) => data.nodes[at].label);
    tell({ k: state.k, show: state.show, node: state.node === null ? null : data.nodes[state.node].label, pinned: spelt(state.pinned),
      groups: state.groups.map((group) => [group.name, spelt(group.members)]) });
  }

  // What is shown, in a sentence, with what chance and a second seed would share.
  function summary(there) {
    const once = data.edges.map((edge, at) => there[at] && !edge.copy), shown = once.filter(Boolean).length; // drawn to all readers, counted once
    const shared = data.edges.filter((edge, at) => once[at] && owner(edge) === "shared").length;
    const own = data.seed_of ?? 0, seeds = data.seed ? data.edges.filter((edge) => !edge.copy && inside(edge, own) && edge.seed_rank <= state.k).length : null;
    const chance = data.n_edges ? (state.k * state.k) / data.n_edges : null;
    return `${state.k}: ${shown} shown` + (state.show !== "both" ? "" : `, ${shared} in both` +
      (chance === null ? "" : ` (by chance ${chance < 10 ? chance.toFixed(1) : Math.round(chance)}` + (seeds === null ? ")" : `; ${data.models[own]} shares ${seeds} with ${data.seed}, the seed null)`)));
  }

  let marks = new Map();
  function draw() {
    const rows = layout();
    TP.clear(picture);
    drawn = []; marks = new Map();
    for (const { label, y } of rows) picture.append(Object.assign(TP.shape("text", { x: 6, y, class: "layer" }), { textContent: label }));
    for (const edge of data.edges) {
      const from = places.get(edge.source), to = places.get(edge.target);
      if (!from || !to || from === to) { drawn.push({ line: TP.shape("path"), edge }); continue; }
      const bend = (from.y - to.y) * 0.45 + 6;
      const line = TP.shape("path", { d: `M${from.x},${from.y} C${from.x},${from.y - bend} ${to.x},${to.y + bend} ${to.x},${to.y}` });
      drawn.push({ line, edge });
      picture.append(line);
    }
    for (const [at, place] of places) {
      const node = data.nodes[at], click = (event) => { event.stopPropagation(); choose(at, event); };
      const about = { class: "node", fill: node.kind === "head" ? theme.focus : theme.quiet, click };
      const half = place.group ? 10 + 3.4 * place.group.name.length : 15;
      const shape = place.group ? TP.shape("rect", { x: place.x - half, y: place.y - 10, width: 2 * half, height: 20, rx: 10, ...about, fill: theme.good })
        : node.kind === "head" ? TP.shape("circle", { cx: place.x, cy: place.y, r: 8, ...about })
        : TP.shape("rect", { x: place.x - 15, y: place.y - 8, width: 30, height: 16, rx: 4, ...about });
      const label = Object.assign(TP.shape("text", { x: place.x, y: place.y + (node.kind === "logits" ? -17 : place.group ? 0 : 17) }), { textContent: name(at) });
      shape.append(Object.assign(TP.shape("title"), { textContent: node.label }));
      marks.set(at, { shape, label });
      picture.append(shape, label);
    }
    picture.style.aspectRatio = `${view.w} / ${view.h}`;
    look();
    redraw();
  }
  // A click shows what comes in and goes out; with control or command held it pins.
  function choose(at, event) {
    if (event.ctrlKey || event.metaKey) pin(at);
    else { state.node = state.node === at ? null : at; redraw(); }
  }
  function pin(at) { state.pinned.has(at) ? state.pinned.delete(at) : state.pinned.add(at); redraw(); }

  const rounded = (value) => (value === null || value === undefined ? "–" : TP.signed(value));
  const spread = ([value, low, high]) => rounded(value) + (low === null || low === undefined ? "" : ` [${rounded(low)}, ${rounded(high)}]`);
  const seedOf = (value) => (value !== null && value !== undefined ? ` · seed null (${data.seed}) ${rounded(value)}` : "");
  function listed(edge, other) {
    const of = edge.scores.map((value, model) => `${data.models[model]} ${spread([value, edge.low?.[model], edge.high?.[model]])}`);
    return TP.make("button.choice", { type: "button", style: "display:block", click: () => { state.node = other; redraw(); } },
      TP.make("div.mono", {}, `${name(edge.source)} → ${name(edge.target)} (${edge.kind})`), TP.make("div.quiet", { style: "font-size:11.5px" }, of.join(" · ") + seedOf(edge.seed)));
  }
  // Heads and MLPs by how much their own score changed from the first model to the second.
  function ranked() {
    const rows = [...data.nodes.keys()].filter((at) => data.nodes[at].scores && (!state.find || name(at).toLowerCase().includes(state.find)));
    const by = (at) => { const node = data.nodes[at]; return Math.abs(node.change ? node.change[0] : node.scores[0][0]); };
    rows.sort((a, b) => by(b) - by(a));
    return rows.map((at) => {
      const node = data.nodes[at], sure = node.change && node.change[1] !== null && (node.change[1] > 0 || node.change[2] < 0);
      return TP.make("button.choice", { type: "button", style: "display:block", click: () => { state.node = at; redraw(); } },
        TP.make("div", {}, TP.make("span.mono", {}, node.label), "  ", TP.make(sure ? "b" : "span", {}, node.scores.map(([value]) => rounded(value)).join(" → "))),
        TP.make("div.quiet", { style: "font-size:11.5px" }, (node.change ? `change ${spread(node.change)}` : spread(node.scores[0])) + seedOf(node.seed)));
    });
  }
  function detail(there) {
    TP.clear(panel);
    if (state.node === null) {
      const rows = ranked();
      panel.append(TP.make("h4", {}, both ? "Nodes by how much they changed" : "Nodes by score"),
        TP.make("div.quiet", {}, `Below 0: the answer needs it.${both ? ` ${data.models.join(" → ")}; bold where the change's 95% interval excludes 0.` : ""} Click a node for its edges; ctrl-click pins it.`),
        TP.make("div.scroll", { style: "max-height:430px" }, rows));
    } else {
      const node = data.nodes[state.node], pinned = state.pinned.has(state.node);
      panel.append(TP.make("h4", {}, name(state.node)), ...(node.scores ? [TP.make("div.quiet", {},
        node.scores.map((of, model) => `${data.models[model]} ${spread(of)}`).join(" · ") + (node.change ? ` · change ${spread(node.change)}` : "") + seedOf(node.seed))] : []),
        TP.make("div.bar", {}, button(pinned ? "unpin" : "pin", pinned, () => pin(state.node)),
          button("back", false, () => { state.node = null; redraw(); })));
      for (const [title, end, far] of [["comes in", "target", "source"], ["goes out", "source", "target"]]) {
        const mine = data.edges.filter((edge, at) => there[at] && edge[end] === state.node).sort((a, b) => Math.abs(score(b)) - Math.abs(score(a)));
        panel.append(TP.make("div.quiet", {}, `${title}: ${mine.length}`), TP.make("div.scroll", { style: "max-height:180px" }, mine.slice(0, 30).map((edge) => listed(edge, edge[far]))));
      }
    }
    if (state.pinned.size) {
      const names = [...state.pinned].map((at) => data.nodes[at].label);
      const call = TP.make("input", { type: "text", placeholder: "name", "aria-label": "name of the group", size: 10, maxlength: 24 });
      const group = () => {
        const members = new Set(state.pinned);
        for (const one of state.groups) for (const at of members) one.members.delete(at);
        state.groups = [...state.groups.filter((one) => one.members.size), { name: call.value.trim() || "group", members }];
        draw();
      };
      call.addEventListener("keydown", (event) => { event.stopPropagation(); if (event.key === "Enter") group(); });
      panel.append(TP.make("h4", { style: "margin-top:10px" }, `pinned: ${names.length}`), TP.make("div.mono", { style: "white-space:normal" }, names.join(" ")),
        TP.make("div.bar", {}, button("unpin all", false, () => { state.pinned.clear(); redraw(); }), call, button("group", false, group, "draw the pinned nodes as one, under this name"),
          ...(data.live ? [button("how faithful is it?", false, () => tell({ act: "faithfulness", pinned: names }))] : [])));
    }
    if (state.groups.length) panel.append(TP.make("div.bar", {}, TP.make("span.quiet", {}, "groups"), ...state.groups.map((group) =>
      button(`${group.name} ×`, false, () => { state.groups = state.groups.filter((one) => one !== group); draw(); }, "ungroup"))));
  }

  // Moving and zooming: the picture's view box.
  function look() { picture.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`); }
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    const area = picture.getBoundingClientRect(), by = event.deltaY > 0 ? 1.12 : 1 / 1.12;
    const x = view.x + (view.w * (event.clientX - area.left)) / area.width, y = view.y + (view.h * (event.clientY - area.top)) / area.height;
    view = { x: x - (x - view.x) * by, y: y - (y - view.y) * by, w: view.w * by, h: view.h * by };
    look();
  }, { passive: false });
  let grip = null;
  picture.addEventListener("pointerdown", (event) => { if (event.target === picture) { grip = [event.clientX, event.clientY]; picture.setPointerCapture(event.pointerId); } });
  picture.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const area = picture.getBoundingClientRect();
    view.x -= ((event.clientX - grip[0]) * view.w) / area.width; view.y -= ((event.clientY - grip[1]) * view.h) / area.height;
    grip = [event.clientX, event.clientY];
    look();
  });
  picture.addEventListener("pointerup", () => { grip = null; });
  picture.addEventListener("click", (event) => { if (event.target === picture && state.node !== null) { state.node = null; redraw(); } });
  draw();
  return box;
}
