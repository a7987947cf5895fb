// What the views share: elements made without markup (text is set as text, never parsed), colours, and reading numbers.
const TP = {
  // An element: its tag with classes ("button.wide"), its attributes and listeners, and its children or text.
  make(tag, about = {}, ...children) {
    const [name, ...classes] = tag.split(".");
    const element = document.createElement(name);
    if (classes.length) element.className = classes.join(" ");
    return TP.dress(element, about, children);
  },
  shape(tag, about = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    return TP.dress(element, about, children);
  },
  dress(element, about, children) {
    for (const [name, value] of Object.entries(about)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat()) element.append(child);
    return element;
  },
  clear(element) { while (element.firstChild) element.firstChild.remove(); return element; },
  percent(share) {
    if (share === null || share === undefined) return "–";
    if (share > 0 && share < 0.001) return "<0.1%";
    return `${(100 * share).toFixed(share >= 0.0995 ? 0 : 1)}%`;
  },
  signed(value) { return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toPrecision(2); },
  fixed(value) { return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2); },
  // A token as it stands in text: spaces and line ends are shown where they would be lost.
  word(text) { return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replace(/^ | $/g, "·"); },
  blend(one, two, share) {
    const at = (colour, start) => parseInt(colour.slice(start, start + 2), 16);
    const mixed = [1, 3, 5].map((start) => Math.round(at(one, start) + share * (at(two, start) - at(one, start))));
    return `rgb(${mixed.join(",")})`;
  },
  // The shade of a share from 0 to 1, and a colour of the text that is read on it.
  shade(theme, share) {
    const ground = TP.blend(theme.paper, theme.focus, 0.06 + 0.82 * Math.max(0, Math.min(1, share)));
    return { ground, ink: theme.dark ? (share > 0.62 ? "#0b0d0f" : theme.ink) : share > 0.68 ? "#ffffff" : theme.ink };
  },
  // From blue (less than nothing) over the paper to vermilion, for shares from -1 to 1.
  between(theme, share) { return TP.blend(theme.paper, share < 0 ? theme.ar : theme.twin, Math.min(1, Math.abs(share)) * 0.85); },
  theme(root) {
    const style = getComputedStyle(root), dark = root.classList.contains("dark");
    const read = (name) => {
      const found = style.getPropertyValue(name).trim();
      return /^#[0-9a-f]{6}$/i.test(found) ? found : dark ? "#14171a" : "#ffffff"; // a page's own colour may be written otherwise
    };
    return { ink: read("--ink"), quiet: read("--quiet"), line: read("--line"), paper: read("--paper"), soft: read("--soft"),
      focus: read("--focus"), ar: read("--ar"), twin: read("--twin"), good: read("--good"), fresh: read("--new"),
      dark };
  },
  // The frame of a view: dark where the page is; a keyboard stop; the place where tests and pages read its state.
  frame(root, kind, data, dark) {
    const wanted = dark === undefined ? window.matchMedia("(prefers-color-scheme: dark)").matches : dark;
    const box = TP.make(`div.tp.${kind}`, { tabindex: 0, role: "group", "aria-label": data.title || kind });
    if (wanted) box.classList.add("dark");
    TP.clear(root).append(box);
    box.twinprobe = { kind, data, state: {} };
    return box;
  },
  // A list of words with their probabilities; `act` is called with the one that is clicked.
  choices(theme, items, act) {
    return items.map(([word, share, token]) => {
      const fill = TP.make("div.fill", { style: `width:${Math.max(1, 88 * share)}px` });
      return TP.make("button.choice", { type: "button", click: () => act && act(token, word), disabled: !act && undefined },
        TP.make("span.word", {}, TP.word(word)), TP.make("span", {}, fill), TP.make("span.number", {}, TP.percent(share)));
    });
  },
};
