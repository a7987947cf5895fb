// Attention: who looks at whom in one head, both twins side by side, at one step; heads sorted by any score.
function tpAttention(root, data, tell, dark) {
  const box = TP.frame(root, "attention", data, dark), state = box.twinprobe.state, theme = TP.theme(box);
  const labels = data.heads, names = data.scores;
  const steps = Math.max(...data.models.map((model) => model.steps.length));
  Object.assign(state, { head: labels.includes(data.head) ? labels.indexOf(data.head) : null, by: data.by ?? names[0], of: data.models.length > 1 ? data.models.length : 0,
    step: Math.min(data.step ?? 0, steps - 1), query: data.models[0].steps[0].read });
  const now = (model) => model.steps[Math.min(state.step, model.steps.length - 1)];
  const size = Math.max(...data.models.map((model) => model.steps[0].tokens.length));
  const room = Math.max(280, box.clientWidth - 300), cell = Math.max(6, Math.min(26, Math.floor((room / data.models.length - 20) / size)));
  const spelt = (model, slot) => (now(model).tokens[slot] === -1 ? "[M]" : TP.word(data.words[now(model).tokens[slot]]));
  const at = (model, query, key) => now(model).patterns[state.head]?.[query]?.[key] ?? 0;

  const list = TP.make("div.scroll", { style: "max-height:520px", role: "listbox", "aria-label": "heads" });
  const order = TP.make("select", { "aria-label": "sort heads by", change: () => { state.by = order.value; show(); } }, names.map((name) => TP.make("option", { value: name }, name.replaceAll("_", " "))));
  const whose = TP.make("select", { "aria-label": "of which model", change: () => { state.of = Number(whose.value); show(); } },
    [...data.models.map((model, turn) => [turn, model.name]), ...(data.models.length > 1 ? [[data.models.length, "the difference"]] : [])].map(([value, text]) => TP.make("option", { value }, text)));
  const slider = TP.make("input", { type: "range", min: 0, max: steps - 1, value: state.step, "aria-label": "step", input: () => { state.step = Number(slider.value); show(); } });
  const count = TP.make("output.quiet");
  const pictures = TP.make("div.grids"), title = TP.make("h4"), head = TP.make("div.quiet");
  box.append(TP.make("h3", {}, data.title), TP.make("div.quiet", {}, data.about),
    TP.make("div.bar", {}, TP.make("label", {}, TP.make("span.quiet", {}, "heads by"), order), TP.make("label", {}, TP.make("span.quiet", {}, "of"), whose),
      ...(steps > 1 ? [TP.make("span.quiet", {}, "step"), slider, count] : [])),
    TP.make("div.side", {}, TP.make("div.narrow", {}, TP.make("div.panel", {}, head, list)), TP.make("div.wide", {}, title, pictures)));

  const score = (model, one) => now(model).heads[one][names.indexOf(state.by)];
  const scored = (one) => {
    const of = data.models.map((model) => score(model, one));
    return state.of === data.models.length ? (of[0] === null || of[1] === null ? null : of[1] - of[0]) : of[state.of];
  };
  const sheets = data.models.map((model) => {
    const pixels = size * cell, sheet = TP.make("canvas", { role: "img", "aria-label": `attention of ${model.name}` });
    const scale = window.devicePixelRatio || 1, pen = sheet.getContext("2d");
    sheet.width = sheet.height = pixels * scale; sheet.style.width = sheet.style.height = `${pixels}px`;
    pen.scale(scale, scale);
    const line = TP.make("div.text", { style: `line-height:1.8;min-height:72px;width:${Math.max(260, pixels)}px` });
    const spans = model.steps[0].tokens.map((_, slot) => TP.make("span.slot", { click: () => { state.query = slot; show(); } }));
    line.append(...spans);
    const said = TP.make("div", { style: `width:${Math.max(260, pixels)}px` });
    sheet.addEventListener("mousemove", (event) => hover(event, sheet));
    sheet.addEventListener("click", (event) => { hover(event, sheet); show(); });
    pictures.append(TP.make("div.one", {}, TP.make("b", {}, model.name), line, said, sheet));
    return { model, sheet, pen, spans, said };
  });
  function hover(event, sheet) {
    const area = sheet.getBoundingClientRect(), query = Math.floor((event.clientY - area.top) / cell);
    if (query >= 0 && query < size && query !== state.query) { state.query = query; draw(); }
  }

  function draw() {
    for (const { model, pen, spans, said } of sheets) {
      const count = now(model).tokens.length, patterns = now(model).patterns[state.head];
      pen.clearRect(0, 0, size * cell, size * cell);
      for (let query = 0; query < count; query++) for (let key = 0; key < count; key++) {
        pen.fillStyle = TP.blend(theme.paper, theme.focus, Math.sqrt(Math.min(1, patterns[query][key])));
        pen.fillRect(key * cell, query * cell, cell - 1, cell - 1);
      }
      const query = Math.min(state.query, count - 1);
      pen.strokeStyle = theme.fresh; pen.lineWidth = 2; pen.strokeRect(1, query * cell, count * cell - 2, cell - 1);
      let best = 0;
      spans.forEach((span, key) => {
        const share = at(model, query, key), tone = TP.shade(theme, share), text = spelt(model, key);
        if (span.textContent !== text) span.textContent = text;
        span.style.background = share > 0.01 ? tone.ground : ""; span.style.color = share > 0.01 ? tone.ink : "";
        span.className = `slot${key === query ? " fresh" : ""}`;
        span.title = `${TP.percent(share)} of slot ${query}'s attention`;
        if (share > at(model, query, best)) best = key;
      });
      said.textContent = `${spelt(model, query)} (slot ${query}) looks most at ${spelt(model, best)} (slot ${best}, ` +
        (best < query ? "to its left" : best > query ? "to its right" : "itself") + `): ${TP.percent(at(model, query, best))}`;
    }
  }
  function show() {
    order.value = state.by; whose.value = state.of; slider.value = state.step; count.textContent = `${state.step + 1} of ${steps}`;
    const sorted = labels.map((_, one) => one).sort((a, b) => Math.abs(scored(b) ?? 0) - Math.abs(scored(a) ?? 0));
    state.head ??= sorted[0];
    head.textContent = state.of === data.models.length ? data.models.map((model) => model.name).join(" → ") : data.models[state.of].name;
    const value = (number) => (number === null ? "–" : number.toFixed(2));
    TP.clear(list).append(...sorted.map((one) => TP.make("button.choice.head", { type: "button", role: "option", "aria-selected": String(one === state.head),
      style: one === state.head ? `border-color:${theme.focus};box-shadow:inset 0 0 0 1px ${theme.focus}` : "", click: () => { state.head = one; show(); } },
      TP.make("span.word", {}, labels[one]), TP.make("span", {}, data.models.map((model, turn) => TP.make("div.fill", {
        style: `width:${Math.min(100, 100 * Math.abs(score(model, one) ?? 0))}%;background:${turn ? theme.twin : theme.ar};height:5px;margin:1px 0` }))),
      TP.make("span.number", {}, data.models.map((model) => value(score(model, one))).join(" → ")))));
    title.textContent = `${labels[state.head]}: rows look, columns are looked at`;
    draw();
    tell({ head: labels[state.head], by: state.by, step: state.step });
  }
  box.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT" || event.target.tagName === "INPUT") return;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key], on = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) { state.query = Math.max(0, Math.min(size - 1, state.query + by)); draw(); event.preventDefault(); }
    if (on && steps > 1) { state.step = Math.max(0, Math.min(steps - 1, state.step + on)); show(); event.preventDefault(); }
  });
  show();
  return box;
}
