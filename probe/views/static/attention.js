// Attention: who looks at whom in one head, both twins side by side; heads sorted by any score.
function tpAttention(root, data, tell, dark) {
  const box = TP.frame(root, "attention", data, dark), state = box.twinprobe.state, theme = TP.theme(box);
  const labels = data.heads, names = data.scores;
  Object.assign(state, { head: data.head ?? null, by: data.by ?? names[0], of: 0, query: data.models[0].read });
  const size = Math.max(...data.models.map((model) => model.tokens.length)), cell = Math.max(8, Math.min(26, Math.floor(420 / size)));
  const spelt = (model, slot) => (model.tokens[slot] === -1 ? "[M]" : TP.word(data.words[model.tokens[slot]]));
  const at = (model, query, key) => model.patterns[state.head]?.[query]?.[key] ?? 0;

  const list = TP.make("div.scroll", { style: "max-height:430px", role: "listbox", "aria-label": "heads" });
  const order = TP.make("select", { "aria-label": "sort heads by", change: () => { state.by = order.value; show(); } }, names.map((name) => TP.make("option", { value: name }, name.replaceAll("_", " "))));
  const whose = TP.make("select", { "aria-label": "of which model", change: () => { state.of = Number(whose.value); show(); } },
    [...data.models.map((model, turn) => [turn, model.name]), ...(data.models.length > 1 ? [[2, "the difference"]] : [])].map(([value, text]) => TP.make("option", { value }, text)));
  const pictures = TP.make("div.grids"), title = TP.make("h4");
  box.append(TP.make("h3", {}, data.title), TP.make("div.quiet", {}, data.about),
    TP.make("div.bar", {}, TP.make("label", {}, TP.make("span.quiet", {}, "heads by"), order), TP.make("label", {}, TP.make("span.quiet", {}, "of"), whose)),
    TP.make("div.side", {}, TP.make("div.narrow", {}, TP.make("div.panel", {}, list)), TP.make("div.wide", {}, title, pictures)));

  const scored = (head) => {
    const of = data.models.map((model) => model.heads[head][names.indexOf(state.by)]);
    return state.of === 2 ? (of[0] === null || of[1] === null ? null : of[1] - of[0]) : of[state.of];
  };
  const sheets = data.models.map((model) => {
    const pixels = model.tokens.length * cell, sheet = TP.make("canvas", { role: "img", "aria-label": `attention of ${model.name}` });
    const scale = window.devicePixelRatio || 1, pen = sheet.getContext("2d");
    sheet.width = sheet.height = pixels * scale; sheet.style.width = sheet.style.height = `${pixels}px`;
    pen.scale(scale, scale);
    const line = TP.make("div.text", { style: "line-height:1.8" });
    const spans = model.tokens.map((_, slot) => TP.make("span.slot", { click: () => { state.query = slot; show(); } }, spelt(model, slot)));
    line.append(...spans);
    const said = TP.make("div.quiet");
    sheet.addEventListener("mousemove", (event) => hover(event, sheet));
    sheet.addEventListener("click", (event) => hover(event, sheet));
    pictures.append(TP.make("div", { style: "max-width:560px" }, TP.make("div.quiet", {}, model.name), line, sheet, said));
    return { model, sheet, pen, spans, said };
  });
  function hover(event, sheet) {
    const area = sheet.getBoundingClientRect(), query = Math.floor((event.clientY - area.top) / cell);
    if (query >= 0 && query < size && query !== state.query) { state.query = query; draw(); }
  }

  function draw() {
    for (const { model, pen, spans, said } of sheets) {
      const count = model.tokens.length;
      for (let query = 0; query < count; query++) for (let key = 0; key < count; key++) {
        pen.fillStyle = TP.blend(theme.paper, theme.focus, Math.sqrt(Math.min(1, at(model, query, key))));
        pen.fillRect(key * cell, query * cell, cell - 1, cell - 1);
      }
      const query = Math.min(state.query, count - 1);
      pen.strokeStyle = theme.fresh; pen.lineWidth = 2; pen.strokeRect(0, query * cell, count * cell - 1, cell - 1);
      let best = 0;
      spans.forEach((span, key) => {
        const share = at(model, query, key), tone = TP.shade(theme, share);
        span.style.background = share > 0.01 ? tone.ground : ""; span.style.color = share > 0.01 ? tone.ink : "";
        span.className = `slot${key === query ? " fresh" : ""}`;
        span.title = `${TP.percent(share)} of slot ${query}'s attention`;
        if (share > at(model, query, best)) best = key;
      });
      said.textContent = `slot ${query} (${spelt(model, query)}) looks most at slot ${best} (${spelt(model, best)}): ${TP.percent(at(model, query, best))}, ` +
        (best < query ? "to its left" : best > query ? "to its right" : "itself");
    }
  }
  function show() {
    order.value = state.by; whose.value = state.of;
    const sorted = labels.map((_, head) => head).sort((a, b) => Math.abs(scored(b) ?? 0) - Math.abs(scored(a) ?? 0));
    state.head ??= sorted[0];
    TP.clear(list).append(...sorted.map((head) => TP.make("button.choice", { type: "button", role: "option", "aria-selected": String(head === state.head),
      style: head === state.head ? `border-color:${theme.focus}` : "", click: () => { state.head = head; show(); } },
      TP.make("span.word", {}, labels[head]), TP.make("span", {}, TP.make("div.fill", { style: `width:${Math.min(88, 88 * Math.abs(scored(head) ?? 0))}px` })),
      TP.make("span.number", {}, scored(head) === null ? "–" : scored(head).toFixed(2)))));
    title.textContent = `${labels[state.head]}: rows are queries, columns keys`;
    draw();
    tell({ head: labels[state.head], by: state.by });
  }
  box.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.target.tagName === "SELECT") return;
    state.query = Math.max(0, Math.min(size - 1, state.query + by));
    draw();
    event.preventDefault();
  });
  show();
  return box;
}
