// The lens grid: what each layer would answer at each slot, models side by side, and how two of them differ on one token.
// Where something was changed (`data.cone`), the cells that attention lets the change reach are drawn as they are, and
// all others are struck through. Where `data.drag` is set, a cell can be dragged onto a cell of the last grid drawn.
function tpLensGrid(root, data, tell, dark) {
  const MASK = -1;
  const box = TP.frame(root, "lens_grid", data, dark), state = box.twinprobe.state, theme = TP.theme(box);
  const steps = Math.max(...data.models.map((model) => model.steps.length));
  const pins = Object.keys(data.pins).map(Number);
  const drawn = data.drawn || data.models.map((_, at) => at), pairOf = data.difference || (data.models.length > 1 ? [0, 1] : null);
  const onto = drawn[drawn.length - 1];
  Object.assign(state, { step: Math.min(data.step ?? 0, steps - 1), pin: null, model: null, layer: null, slot: null, swapped: false });
  if (data.pin !== undefined && data.ids.includes(data.pin)) state.pin = data.ids.indexOf(data.pin);
  if (data.models.some((model) => model.name === data.model)) Object.assign(state, { model: data.model, layer: data.layer, slot: data.slot });
  const of = (model) => model.steps[Math.min(state.step, model.steps.length - 1)];
  const spelt = (code) => (code === MASK ? "[M]" : TP.word(data.words[code]));
  const rowName = (layer) => (layer === 0 ? "embed" : `L${layer - 1}`);

  // The probability of a token in a cell: exact where it was asked for, else from the ten best, else unknown (null).
  function share(model, layer, slot, code) {
    const known = data.pins[code];
    const step = Math.min(state.step, model.steps.length - 1), which = data.models.indexOf(model);
    if (known) return known[which][step][layer][slot];
    const found = of(model).cells[layer][slot].find(([token]) => token === code);
    return found ? found[1] : null;
  }

  const chips = TP.make("div.bar", { role: "group", "aria-label": "which token is shaded" });
  const slider = TP.make("input", { type: "range", min: 0, max: steps - 1, value: state.step, "aria-label": "step", input: () => go(Number(slider.value)) });
  const count = TP.make("output.quiet");
  const panel = TP.make("div.panel.strip"), grids = TP.make("div.grids");
  box.append(TP.make("h3", {}, data.title), TP.make("div.quiet", {}, data.about), chips);
  if (steps > 1) box.append(TP.make("div.bar", {}, "step", slider, count));
  box.append(panel, grids);

  // Columns are alike in all grids, so that a slot stands in one line; two grids stand side by side where they fit.
  const slots = Math.max(...data.models.flatMap((model) => model.steps.map((step) => step.tokens.length)));
  const room = Math.max(320, box.clientWidth - 26), width = (space) => Math.floor((space - 56) / slots) - 1;
  const cell = Math.min(72, width(room / 2 - 12) >= 44 ? width(room / 2 - 12) : Math.max(40, width(room)));
  box.style.setProperty("--cell", `${cell}px`);

  // One table a model, made once; what changes with step and pin is only written into its cells.
  const tables = drawn.map((at) => build(data.models[at].name, data.models[at], false, at));
  const differs = pairOf ? build(data.difference_name || `${data.models[pairOf[1]].name} less ${data.models[pairOf[0]].name}`, data.models[pairOf[1]], true, pairOf[1]) : null;

  function build(name, model, difference, which) {
    const layers = model.steps[0].cells.length;
    const head = [], cells = [], top = TP.make("tr", {}, TP.make("th", {}, "")), body = TP.make("tbody");
    for (let slot = 0; slot < slots; slot++) { const th = TP.make("th"); head.push(th); top.append(th); }
    for (let layer = layers - 1; layer >= 0; layer--) {
      const row = TP.make("tr", {}, TP.make("th", {}, rowName(layer)));
      cells[layer] = [];
      for (let slot = 0; slot < slots; slot++) {
        const td = TP.make("td", { click: () => choose(model, layer, slot) });
        if (data.drag && !difference) drags(td, which, layer, slot);
        cells[layer][slot] = td;
        row.append(td);
      }
      body.append(row);
    }
    const note = TP.make("span.quiet"), table = TP.make("div.scroll", {}, TP.make("table.grid", {}, TP.make("thead", {}, top), body));
    grids.append(TP.make("div.one", {}, TP.make("div", {}, TP.make("b", {}, name), " ", note), table));
    return { model, head, cells, difference, note, table, which };
  }

  // A cell is taken from any grid and put into a cell of the last one.
  function drags(td, which, layer, slot) {
    td.draggable = true;
    td.addEventListener("dragstart", (event) => {
      state.dragged = { model: which, layer, slot };
      event.dataTransfer.setData("text/plain", `${which} ${layer} ${slot}`);
      event.dataTransfer.effectAllowed = "copy";
      box.classList.add("dragging");
    });
    td.addEventListener("dragend", () => { state.dragged = null; box.classList.remove("dragging"); });
    if (which !== onto) return;
    td.addEventListener("dragover", (event) => { if (state.dragged) { event.preventDefault(); td.classList.add("over"); } });
    td.addEventListener("dragleave", () => td.classList.remove("over"));
    td.addEventListener("drop", (event) => {
      event.preventDefault();
      td.classList.remove("over");
      if (state.dragged) tell({ act: "patch", from: state.dragged, to: { model: which, layer, slot } });
    });
  }

  const reached = (layer, slot) => {
    if (!data.cone) return true;
    return Boolean(data.cone[Math.min(state.step, data.cone.length - 1)][layer][slot]);
  };
  const changedHere = (layer, slot) => (!data.changed_at || data.changed_at.includes(state.step)) && (data.changed || []).some(([row, at]) => row === layer && (at === null || at === slot));

  function write(table) {
    const { head, cells, difference } = table, model = state.swapped && !difference && table.which === onto ? data.models[data.swap] : table.model, now = of(model), pin = difference ? state.pin ?? pins[0] : state.pin;
    head.forEach((th, slot) => {
      const text = slot < now.tokens.length ? spelt(now.tokens[slot]) : "";
      th.textContent = text; th.title = `slot ${slot}: ${text}`;
      th.className = now.read === slot ? "asked" : "";
    });
    cells.forEach((row, layer) => row.forEach((td, slot) => {
      const best = now.cells[layer][slot];
      let text = "", ground = "", ink = "", title = "", kind = "";
      if (best && difference) {
        const [one, two] = pairOf.map((at) => data.models[at]).map((each) => (of(each).cells[layer][slot] ? share(each, layer, slot, pin) : null));
        const known = one !== null && two !== null;
        text = known ? (Math.abs(two - one) < 0.005 ? "" : TP.fixed(two - one)) : "?";
        ground = known ? TP.between(theme, two - one) : ""; ink = known && Math.abs(two - one) > 0.6 ? "#ffffff" : theme.ink;
        title = known ? `${spelt(pin)}: ${TP.percent(one)} → ${TP.percent(two)}` : `${spelt(pin)} is not among the ten best of both`;
        if (data.cone) {
          kind = changedHere(layer, slot) ? "put" : reached(layer, slot) ? "within" : "beyond";
          title += { put: "; changed here", within: "; attention lets the change reach it", beyond: "; attention keeps the change from it" }[kind];
        }
      } else if (best) {
        const shown = pin === null ? best[0][1] : share(model, layer, slot, pin), tone = TP.shade(theme, shown ?? 0);
        text = spelt(best[0][0]); ground = shown === null ? "" : tone.ground; ink = shown === null ? theme.quiet : tone.ink;
        title = `${spelt(best[0][0])} ${TP.percent(best[0][1])}` + (pin === null ? "" : `; ${spelt(pin)} ${shown === null ? "below the tenth" : TP.percent(shown)}`);
        if (data.cone && table.which === onto && changedHere(layer, slot)) kind = "put";
      }
      if (td.textContent !== text) td.textContent = text;
      td.style.backgroundColor = ground; td.style.color = ink; td.title = title;
      if (!difference && state.model === model.name && state.layer === layer && state.slot === slot) kind += " chosen";
      td.className = kind;
    }));
    if (difference) table.note.textContent = `probability of ${spelt(pin)}: blue is less, orange is more` + (data.cone ? "; hatched: out of the change's reach" : "");
    else table.note.textContent = settled(model, now) + (model.text ? `; writes “${model.text}”` : "");
    if (difference && table.model.text) table.note.textContent = `${rewritten(table)}; ${table.note.textContent}`;
  }

  // What a change did to the text of a whole run.
  function rewritten({ model }) {
    const was = data.models[pairOf[0]].text;
    return was === model.text ? "writes the same text" : `now writes “${model.text}”`;
  }

  // From which layer on the best token at the slot that answers is what it is at the end.
  function settled(model, now) {
    const column = now.cells.map((row) => row[now.read][0]), last = column[column.length - 1];
    let from = column.length - 1;
    while (from > 0 && column[from - 1][0] === last[0]) from -= 1;
    return `answers ${spelt(last[0])} (${TP.percent(last[1])}), from ${rowName(from)} on`;
  }

  function show() {
    TP.clear(chips).append(TP.make("span.quiet", {}, "shade by"),
      TP.make("button", { type: "button", "aria-pressed": String(state.pin === null), click: () => pinned(null) }, "the best token"),
      ...pins.map((code) => TP.make("button", { type: "button", "aria-pressed": String(state.pin === code), click: () => pinned(code) },
        `${data.names[code] ? data.names[code] + ": " : ""}${spelt(code)}`)),
      ...(state.pin !== null && !pins.includes(state.pin) ? [TP.make("button", { type: "button", "aria-pressed": "true", click: () => pinned(null) }, spelt(state.pin))] : []));
    if (data.swap !== undefined) chips.append(TP.make("span.quiet", {}, "the last model"), TP.make("button", { type: "button", "aria-pressed": String(state.swapped),
      click: () => { state.swapped = !state.swapped; show(); } }, "as it is after the change"));
    slider.value = state.step;
    count.textContent = `${state.step + 1} of ${steps}`;
    tables.forEach(write);
    if (differs) write(differs);
    detail();
  }

  function detail() {
    TP.clear(panel);
    if (state.model === null) {
      panel.append(TP.make("div.quiet", {}, data.hint || "Click a cell for its ten best tokens; click a token to shade every cell by it. The underlined slot is where the answer is read."));
      return;
    }
    const model = data.models.find((one) => one.name === state.model), best = of(model).cells[state.layer]?.[state.slot] || [];
    const where = state.layer === 0 ? "the embedding" : `layer ${state.layer - 1}`;
    panel.append(TP.make("h4", {}, `${model.name}, after ${where}, slot ${state.slot} (${spelt(of(model).tokens[state.slot])})`),
      TP.make("div.five", {}, TP.choices(theme, best.map(([code, of]) => [data.words[code], of, code]), (code) => pinned(state.pin === code ? null : code))));
    if (data.deeds && data.models.indexOf(model) === onto) panel.append(TP.make("div.bar", {}, TP.make("span.quiet", {}, "here"),
      ...data.deeds.map(([deed, text]) => TP.make("button", { type: "button", click: () => tell({ act: "do", deed, to: { layer: state.layer, slot: state.slot } }) }, text))));
  }

  function pinned(code) {
    state.pin = code;
    show();
    said();
    if (data.live && code !== null && !pins.includes(code)) tell({ act: "pin", token: data.ids[code] });
  }
  function choose(model, layer, slot) { Object.assign(state, { model: model.name, layer, slot }); show(); said(); }
  function go(step) { state.step = Math.max(0, Math.min(steps - 1, step)); show(); said(); }
  function said() { tell({ step: state.step, pin: state.pin === null ? null : data.ids[state.pin], model: state.model, layer: state.layer, slot: state.slot }); }
  box.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT") return;
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by && steps > 1) { go(state.step + by); event.preventDefault(); }
  });
  show();
  for (const { table, model } of [...tables, ...(differs ? [differs] : [])]) table.scrollLeft = (of(model).read + 2) * (cell + 1) + 56 - table.clientWidth;
  return box;
}
