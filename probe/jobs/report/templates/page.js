// Draws a figure when its details are opened, in the page's own colours, light or dark. Plotly's code takes a second to
// start: it lies in the page as text, packed, as do the figures' numbers, until the first of them is wanted. What the page
// shows as it opens needs none of this.
(() => {
  "use strict";
  const plots = [...document.querySelectorAll(".plot")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const LIGHT = { ink: "#1f1d1a", soft: "#6b665e", rule: "#e4dfd5" };
  const DARK = { ink: "#e6e2d9", soft: "#a19b90", rule: "#36373b" };
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  let shared = null;

  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).text();
  }

  async function startPlotly() {
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly");
    shared = JSON.parse(await unpacked("figures-template"));
    document.head.append(script); // runs at once
  }

  let plotly = null;
  async function prepare(plot) {
    await (plotly ??= startPlotly());
    plot.figure ??= JSON.parse(await unpacked(plot.dataset.figure));
  }

  function dressed(figure) {
    const colours = dark.matches ? DARK : LIGHT;
    const layout = { ...figure.layout, template: themed(figure.layout.template ?? shared, colours) };
    const clear = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
    const font = { ...layout.font, color: colours.ink, family: getComputedStyle(document.documentElement).getPropertyValue("--sans") };
    Object.assign(layout, clear, { font, autosize: true });
    const above = (figure.layout.annotations ?? []).filter((note) => note.yref === "paper" && note.y > 0.99); // of panels
    const lines = Math.max(0, ...above.map((note) => String(note.text).split("<br>").length));
    layout.margin = { l: 56, r: 16, b: 44, ...figure.layout.margin, t: 18 + 16 * lines };
    return { data: figure.data.map((trace) => inked(trace, colours)), layout };
  }

  // Axes take the page's colours through the template, so that what a figure says of its own axes holds.
  function themed(template, colours) {
    const layout = { ...template.layout };
    for (const name of ["xaxis", "yaxis"])
      layout[name] = {
        ...layout[name],
        ...{ gridcolor: colours.rule, linecolor: colours.soft, zerolinecolor: colours.soft, tickcolor: colours.soft },
        ...{ automargin: true, tickfont: { size: 12 }, title: { font: { size: 13 }, standoff: 10 } },
      };
    return { ...template, layout };
  }

  // Black marks would vanish on a dark page: they take the colour of its ink.
  function inked(value, colours) {
    if (typeof value === "string") return /^(#000|#000000|black)$/i.test(value) ? colours.ink : value;
    if (Array.isArray(value)) return value.length > 64 ? value : value.map((each) => inked(each, colours));
    if (value === null || typeof value !== "object" || "bdata" in value) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inked(each, colours)]));
  }

  function draw(plot) {
    if (!plot.figure) return prepare(plot).then(() => draw(plot));
    const { data, layout } = dressed(plot.figure);
    return Plotly.react(plot, data, layout, CONFIG).then(() => { plot.dataset.state = "drawn"; });
  }

  function attempt(plot) {
    plot.dataset.state = "drawing";
    const failed = (problem) => {
      plot.dataset.state = "failed";
      plot.textContent = `This figure could not be drawn (${problem.message ?? problem}). Its numbers are in the table below.`;
    };
    try {
      return draw(plot).catch(failed);
    } catch (problem) {
      failed(problem);
      return Promise.resolve();
    }
  }

  // What lies in closed details is nowhere on the page, so it is drawn once it is opened and near the window.
  const near = new IntersectionObserver(
    (seen) => seen.filter((entry) => entry.isIntersecting && !entry.target.dataset.state).forEach((entry) => attempt(entry.target)),
    { rootMargin: "500px" },
  );
  plots.forEach((plot) => near.observe(plot));
  dark.addEventListener("change", () => plots.filter((plot) => plot.dataset.state === "drawn").forEach(attempt));

  // A link to something in closed details opens them.
  function open() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", open);
  addEventListener("load", open);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) open();
  });
})();
