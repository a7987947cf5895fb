// The lens grid: what each layer would answer at each slot, both twins side by side, and how they differ on one token.
function tpLensGrid(root, data, tell, dark) {
  const MASK = -1;
  const box = TP.frame(root, "lens_grid", data, dark), state = box.twinprobe.state, theme = TP.theme(box);
  const steps = Math.max(...data.models.map((model) => model.steps.length));
  const pins = Object.keys(data.pins).map(Number);
  Object.assign(state, { step: Math.min(data.step ?? 0, steps - 1), pin: data.pin ?? null, model: null, layer: null, slot: null });
  const of = (model) => model.steps[Math.min(state.step, model.steps.length - 1)];
  const spelt = (code) => (code === MASK ? "[M]" : TP.word(data.words[code]));

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
  const panel = TP.make("div.panel"), grids = TP.make("div.grids");
  box.append(TP.make("h3", {}, data.title), TP.make("div.quiet", {}, data.about), chips);
  if (steps > 1) box.append(TP.make("div.bar", {}, "step", slider, count));
  box.append(TP.make("div.side", {}, TP.make("div.wide.scroll", {}, grids), TP.make("div.narrow", {}, panel)));

  // One table a model, made once; what changes with step and pin is only written into its cells.
  const tables = data.models.map((model) => build(model.name, model, false));
  const differs = data.models.length > 1 ? build(`${data.models[1].name} less ${data.models[0].name}`, data.models[1], true) : null;

  function build(name, model, difference) {
    const slots = Math.max(...model.steps.map((step) => step.tokens.length)), layers = model.steps[0].cells.length;
    const head = [], cells = [], top = TP.make("tr", {}, TP.make("th", {}, "")), body = TP.make("tbody");
    for (let slot = 0; slot < slots; slot++) { const th = TP.make("th"); head.push(th); top.append(th); }
    for (let layer = layers - 1; layer >= 0; layer--) {
      const row = TP.make("tr", {}, TP.make("th", {}, layer === 0 ? "embed" : `L${layer - 1}`));
      cells[layer] = [];
      for (let slot = 0; slot < slots; slot++) {
        const td = TP.make("td", { click: () => choose(model, layer, slot) });
        cells[layer][slot] = td;
        row.append(td);
      }
      body.append(row);
    }
    grids.append(TP.make("div", {}, TP.make("div.quiet", {}, name), TP.make("table.grid", {}, TP.make("thead", {}, top), body)));
    return { model, head, cells, difference };
  }

  function write(table) {
    const { model, head, cells, difference } = table, now = of(model), pin = difference ? state.pin ?? pins[0] : state.pin;
    head.forEach((th, slot) => {
      const text = slot < now.tokens.length ? spelt(now.tokens[slot]) : "";
      th.textContent = text; th.title = `slot ${slot}: ${text}`;
      th.className = now.read === slot ? "asked" : "";
    });
    cells.forEach((row, layer) => row.forEach((td, slot) => {
      const best = now.cells[layer][slot];
      let text = "", ground = "", ink = "", title = "";
      if (best && difference) {
        const [one, two] = data.models.slice(0, 2).map((each) => (of(each).cells[layer][slot] ? share(each, layer, slot, pin) : null));
        const known = one !== null && two !== null;
        text = known ? (Math.abs(two - one) < 0.005 ? "" : TP.signed(two - one)) : "?";
        ground = known ? TP.between(theme, two - one) : ""; ink = known && Math.abs(two - one) > 0.6 ? "#ffffff" : theme.ink;
        title = known ? `${spelt(pin)}: ${TP.percent(one)} → ${TP.percent(two)}` : `${spelt(pin)} is not among the ten best of both`;
      } else if (best) {
        const shown = pin === null ? best[0][1] : share(model, layer, slot, pin), tone = TP.shade(theme, shown ?? 0);
        text = spelt(best[0][0]); ground = shown === null ? "" : tone.ground; ink = shown === null ? theme.quiet : tone.ink;
        title = `${spelt(best[0][0])} ${TP.percent(best[0][1])}` + (pin === null ? "" : `; ${spelt(pin)} ${shown === null ? "below the tenth" : TP.percent(shown)}`);
      }
      if (td.textContent !== text) td.textContent = text;
      td.style.background = ground; td.style.color = ink; td.title = title;
      td.className = state.model === model.name && state.layer === layer && state.slot === slot && !difference ? "chosen" : "";
    }));
  }

  function show() {
    TP.clear(chips).append(TP.make("span.quiet", {}, "shade by"),
      TP.make("button", { type: "button", "aria-pressed": String(state.pin === null), click: () => pinned(null) }, "the best token"),
      ...pins.map((code) => TP.make("button", { type: "button", "aria-pressed": String(state.pin === code), click: () => pinned(code) },
        `${data.names[code] ? data.names[code] + ": " : ""}${spelt(code)}`)),
      ...(state.pin !== null && !pins.includes(state.pin) ? [TP.make("button", { type: "button", "aria-pressed": "true", click: () => pinned(null) }, spelt(state.pin))] : []));
    slider.value = state.step;
    count.textContent = `${state.step + 1} of ${steps}`;
    tables.forEach(write);
    if (differs) write(differs);
    detail();
  }

  function detail() {
    TP.clear(panel);
    if (state.model === null) {
      panel.append(TP.make("h4", {}, "A cell"), TP.make("div.quiet", {}, "Click a cell for its ten best tokens; click a token to shade every cell by it. The underlined slot is where the answer is read."));
      return;
    }
    const model = data.models.find((one) => one.name === state.model), best = of(model).cells[state.layer][state.slot];
    const where = state.layer === 0 ? "the embedding" : `layer ${state.layer - 1}`;
    panel.append(TP.make("h4", {}, `${model.name}, after ${where}, slot ${state.slot}`),
      ...TP.choices(theme, best.map(([code, of]) => [data.words[code], of, code]), (code) => pinned(state.pin === code ? null : code)));
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
  const asked = grids.querySelector("th.asked"); // where grids are wider than their room, the slot that answers is seen
  if (asked) grids.parentElement.scrollLeft = asked.offsetLeft + asked.offsetWidth - grids.parentElement.clientWidth;
  return box;
}
