// The canvas: what each forward pass saw and wrote. A line of text at one step, and the map of all steps × slots under it.
function tpCanvas(root, data, tell, dark) {
  const MASK = -1, NOTHING = -2, GIVEN = -1;
  const box = TP.frame(root, "canvas", data, dark), state = box.twinprobe.state;
  const steps = data.states.length, slots = data.final.length, theme = TP.theme(box);
  Object.assign(state, { step: Math.min(data.step ?? steps, steps), slot: data.slot ?? null, playing: false });

  // Step `steps` is the text as it stands when all is written.
  const word = (id) => (id >= 0 ? data.words[id] : "");
  const seen = (step, slot) => (step < steps ? data.states[step][slot] : data.final[slot]);
  const sure = (step, slot) => (step < steps ? data.confidence[step][slot] : null);
  const writes = (slot) => data.writes[slot]; // the steps that wrote a slot, in order; empty where it was given
  const withdrawn = (slot) => data.withdrawn[slot]; // the steps that took its token back
  const fresh = (step, slot) => writes(slot).includes(step - 1);
  const shown = (step, slot) => {
    const id = seen(step, slot);
    return id === MASK ? "·" : id === NOTHING ? " " : TP.word(word(id));
  };

  // The head and the controls.
  const count = TP.make("output.quiet", { "aria-live": "polite" });
  const slider = TP.make("input", { type: "range", min: 0, max: steps, value: state.step, "aria-label": "step",
    input: () => { stop(); go(Number(slider.value)); } });
  const play = TP.make("button", { type: "button", title: "space", click: () => (state.playing ? stop() : start()) }, "▶ play");
  const move = (by) => { stop(); go(state.step + by); };
  box.append(
    TP.make("h3", {}, data.title), TP.make("div.quiet", {}, data.about),
    TP.make("div.bar", {}, play,
      TP.make("button", { type: "button", title: "←", "aria-label": "one step back", click: () => move(-1) }, "‹"),
      TP.make("button", { type: "button", title: "→", "aria-label": "one step on", click: () => move(1) }, "›"), slider, count));

  // The text of one step.
  const line = TP.make("div.text");
  const spans = data.final.map((_, slot) => {
    const span = TP.make("span.slot", { click: () => choose(state.step, slot) });
    line.append(span);
    return span;
  });
  box.append(line);

  // The map: drawn once, and a line over it for the step that is shown. What is given before the first slot that is
  // written, and after the last, stands in the line of text alone.
  const open = data.given.map((given, slot) => (given ? -1 : slot)).filter((slot) => slot >= 0);
  const from = open.length ? open[0] : 0, until = open.length ? open[open.length - 1] + 1 : slots, across = until - from;
  const left = data.tau ? 76 : 36, room = Math.max(240, box.clientWidth - left - (box.clientWidth > 760 ? 310 : 30));
  const cell = { wide: Math.max(across <= 40 ? 40 : 5, Math.min(76, Math.floor(room / across))), high: Math.max(4, Math.min(20, Math.floor(420 / (steps + 1)))) };
  const words = cell.wide >= 26 && cell.high >= 12;
  const width = left + cell.wide * across + 2, height = cell.high * (steps + 1) + 18;
  const sheet = (label) => {
    const sheet = TP.make("canvas", label ? { role: "img", "aria-label": "steps from top to bottom, slots from left to right" } : {});
    const scale = window.devicePixelRatio || 1;
    sheet.width = width * scale; sheet.height = height * scale;
    sheet.style.width = `${width}px`; sheet.style.height = `${height}px`;
    const pen = sheet.getContext("2d");
    pen.scale(scale, scale);
    return [sheet, pen];
  };
  const [ground, pen] = sheet(true), [over, marker] = sheet(false);
  const hint = TP.make("div.hint");
  over.style.position = "absolute"; over.style.top = 0; over.style.left = 0;
  const map = TP.make("div.map", {}, ground, over, hint);
  const panel = TP.make("div.panel");
  box.append(TP.make("div.side", {}, TP.make("div.wide", {}, TP.make("div.scroll", {}, map), legend()), TP.make("div.narrow", {}, panel)));

  function legend() {
    const item = (colour, text, style = "") => TP.make("span", {}, TP.make("span.key", { style: `background:${colour};${style}` }), text);
    const items = [item("linear-gradient(90deg," + TP.shade(theme, 0).ground + "," + TP.shade(theme, 1).ground + ")", "how sure it was of an open slot"),
      item("transparent", "what the pass wrote", `box-shadow: inset 0 0 0 2px ${theme.fresh}`)];
    if (data.withdrawn.some((by) => by.length)) items.push(item("transparent", "taken back by this pass", `outline: 2px dashed ${theme.twin};outline-offset:-2px`));
    if (data.strides) items.push(item(theme.good, "stride kept"), item(theme.twin, "stride taken back"));
    return TP.make("div.bar.quiet", {}, items);
  }

  function draw() {
    pen.clearRect(0, 0, width, height);
    pen.font = "11px ui-monospace, Menlo, Consolas, monospace";
    pen.textBaseline = "middle";
    for (let step = 0; step <= steps; step++) {
      const top = step * cell.high;
      if (cell.high >= 10 || step % Math.ceil(12 / cell.high) === 0) {
        pen.fillStyle = theme.quiet; pen.textAlign = "right";
        const tau = data.tau && step < steps ? `  τ ${data.tau[step].toFixed(2)}` : "";
        pen.fillText(step < steps ? `${step + 1}${tau}` : "end", left - 6, top + cell.high / 2);
      }
      for (let slot = from; slot < until; slot++) {
        const id = seen(step, slot), at = left + (slot - from) * cell.wide, confidence = sure(step, slot);
        const written = step < steps && writes(slot).includes(step);
        if (id === NOTHING && !written) continue;
        const asked = confidence !== null && confidence !== undefined;
        const tone = asked ? TP.shade(theme, confidence) : { ground: theme.soft, ink: theme.ink };
        pen.fillStyle = tone.ground;
        pen.fillRect(at, top, cell.wide - 1, cell.high - 1);
        if (written) {
          pen.strokeStyle = theme.fresh; pen.lineWidth = cell.high > 8 ? 2 : 1;
          pen.strokeRect(at + 1, top + 1, cell.wide - 3, cell.high - 3);
        }
        if (step < steps && withdrawn(slot).includes(step)) {
          pen.strokeStyle = theme.twin; pen.lineWidth = cell.high > 8 ? 2 : 1; pen.setLineDash([3, 3]);
          pen.strokeRect(at + 1, top + 1, cell.wide - 3, cell.high - 3);
          pen.setLineDash([]);
        }
        if (words) { // a pass that writes a slot shows what it wrote there
          pen.fillStyle = data.given[slot] ? theme.quiet : tone.ink;
          pen.textAlign = "center";
          pen.fillText(fit(written ? shown(step + 1, slot) : id === MASK ? "" : shown(step, slot)), at + cell.wide / 2, top + cell.high / 2);
        }
      }
    }
    for (const stride of data.strides || []) {
      const top = stride.ended_at * cell.high, at = left + (stride.start - from) * cell.wide;
      const bar = (from, count, colour) => { pen.fillStyle = colour; pen.fillRect(at + from * cell.wide, top + cell.high - 3, Math.max(0, count) * cell.wide - 1, 2.5); };
      bar(0, stride.accepted, theme.good);
      bar(stride.accepted, stride.proposed - stride.accepted, theme.twin);
    }
    pen.fillStyle = theme.quiet; pen.textAlign = "left";
    pen.fillText(from ? `slots ${from} to ${until - 1} →   (${from} given before them)` : "slots →", left, height - 8);
  }
  function fit(text) { const most = Math.floor((cell.wide - 4) / 6.7); return text.length > most ? text.slice(0, Math.max(1, most - 1)) + "…" : text; }

  function mark() {
    marker.clearRect(0, 0, width, height);
    marker.strokeStyle = theme.focus; marker.lineWidth = 2;
    marker.strokeRect(left - 1, state.step * cell.high - 1, cell.wide * across + 1, cell.high + 1);
    if (state.slot !== null && state.slot >= from && state.slot < until) {
      marker.fillStyle = theme.focus; marker.globalAlpha = 0.14;
      marker.fillRect(left + (state.slot - from) * cell.wide, 0, cell.wide - 1, cell.high * (steps + 1));
      marker.globalAlpha = 1;
    }
  }

  function show() {
    const step = state.step;
    slider.value = step;
    const written = data.writes.filter((by) => by.length && by[0] < step).length, open = data.writes.filter((by) => by.length).length;
    count.textContent = step < steps ? `pass ${step + 1} of ${steps}; ${written} of ${open} tokens written before it` : `written in ${steps} passes`;
    spans.forEach((span, slot) => {
      const id = seen(step, slot), confidence = sure(step, slot);
      const kind = data.given[slot] ? " given" : id === MASK ? " open" : id === NOTHING ? " gone" : "";
      const name = `slot${kind}${fresh(step, slot) ? " fresh" : ""}${state.slot === slot ? " chosen" : ""}`;
      if (span.className !== name) span.className = name;
      const text = shown(step, slot);
      if (span.textContent !== text) span.textContent = text;
      const tone = confidence !== null && confidence !== undefined ? TP.shade(theme, confidence) : null;
      span.style.background = tone ? tone.ground : ""; span.style.color = tone ? tone.ink : "";
    });
    mark();
    detail();
  }

  // What is known of one slot at one step; where a model is live, what can be done with it.
  function detail() {
    TP.clear(panel);
    const slot = state.slot;
    if (slot === null) {
      panel.append(TP.make("h4", {}, "A slot"), TP.make("div.quiet", {}, "Click a token or a cell of the map. Arrows step, space plays."));
      if (data.strides) panel.append(strides());
      return;
    }
    const by = writes(slot), step = Math.min(state.step, steps - 1);
    const passes = (all) => all.map((one) => one + 1).join(", ");
    const history = data.given[slot] ? "given" : (by.length ? `written by pass ${passes(by)}` : "behind the end of the text") +
      (withdrawn(slot).length ? `; taken back by pass ${passes(withdrawn(slot))}` : "");
    panel.append(TP.make("h4", {}, `slot ${slot}: ${TP.word(word(data.final[slot]))}`), TP.make("div.quiet", {}, history));
    const confidence = sure(step, slot);
    if (confidence !== null && confidence !== undefined) panel.append(TP.make("div.quiet", {}, `${TP.percent(confidence)} sure at pass ${step + 1}`));
    const candidates = data.candidates && data.candidates[step][slot];
    if (candidates && by.length) {
      const items = candidates.map(([id, share]) => [data.words[id], share, data.ids[id]]);
      panel.append(TP.make("div.quiet", {}, `what pass ${step + 1} would write${data.live ? " (click to write it and go on)" : ""}`));
      panel.append(...TP.choices(theme, items, data.live ? (token) => tell({ act: "write", anew: true, step, slot, token }) : null));
    }
    if (data.live && by.length) panel.append(TP.make("div.bar", {},
      TP.make("button", { type: "button", click: () => tell({ act: "mask", anew: true, step: state.step, slot }) }, "mask it again"),
      TP.make("button", { type: "button", click: () => tell({ act: "rewind", anew: true, step: state.step, slot }) }, "go on from this step")));
  }
  function strides() {
    const rows = data.strides.map((stride, number) => TP.make("div.mono", { style: "font-size:12px" },
      `${String(number + 1).padStart(2)}  ${stride.predicted ? `horizon ${stride.predicted}, ` : ""}${stride.accepted} of ${stride.proposed} kept`));
    return TP.make("div", {}, TP.make("h4", { style: "margin-top:8px" }, "Strides"), TP.make("div.scroll", { style: "max-height:220px" }, rows));
  }

  function go(step) {
    state.step = Math.max(0, Math.min(steps, step));
    show();
    tell({ step: state.step === steps ? null : state.step, slot: state.slot });
  }
  function choose(step, slot) { stop(); state.slot = state.slot === slot && step === state.step ? null : slot; go(step); }
  function start() {
    if (state.step >= steps) state.step = 0;
    state.playing = true; play.textContent = "❚❚ pause"; play.setAttribute("aria-pressed", "true");
    const each = Math.max(1000 / 60, Math.min(400, 12000 / steps));
    let last = performance.now();
    const tick = (now) => {
      if (!state.playing || !box.isConnected) return;
      if (now - last >= each) {
        last = now;
        state.step += 1;
        show();
        if (state.step >= steps) { stop(); tell({ step: state.step === steps ? null : state.step, slot: state.slot }); return; }
      }
      requestAnimationFrame(tick);
    };
    show();
    requestAnimationFrame(tick);
  }
  function stop() { state.playing = false; play.textContent = "▶ play"; play.setAttribute("aria-pressed", "false"); }

  const place = (event) => {
    const area = over.getBoundingClientRect();
    const slot = from + Math.floor((event.clientX - area.left - left) / cell.wide), step = Math.floor((event.clientY - area.top) / cell.high);
    return slot >= from && slot < until && step >= 0 && step <= steps ? { slot, step, x: event.clientX - area.left, y: event.clientY - area.top } : null;
  };
  over.addEventListener("click", (event) => { const at = place(event); if (at) choose(at.step, at.slot); });
  over.addEventListener("mousemove", (event) => {
    const at = place(event);
    hint.style.display = at ? "block" : "none";
    if (!at) return;
    const confidence = sure(at.step, at.slot);
    hint.textContent = `${at.step < steps ? `pass ${at.step + 1}` : "end"}, slot ${at.slot}: ${shown(at.step, at.slot)}` +
      (confidence !== null && confidence !== undefined ? `\n${TP.percent(confidence)} sure` : "");
    hint.style.left = `${at.x}px`; hint.style.top = `${at.y}px`;
  });
  over.addEventListener("mouseleave", () => { hint.style.display = "none"; });
  box.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.target.tagName === "BUTTON" && event.key === " ") return;
    const known = { ArrowRight: () => move(1), ArrowLeft: () => move(-1), Home: () => { stop(); go(0); }, End: () => { stop(); go(steps); },
      " ": () => (state.playing ? stop() : start()) };
    if (known[event.key]) { known[event.key](); event.preventDefault(); }
  });
  draw();
  show();
  return box;
}
