// A view as a component of a page: `drawView`, named above this text, draws the kind.
//
// What is chosen in the view lives here, in the browser. The parts named in `data.keep` are written into the page's
// address, by the browser alone: a server that wrote them too would send the whole address as it was when its run began,
// over what the reader has chosen since. The server hears only what it must answer: an act, and a change of a part named
// in `data.heed`. Drawing tells it nothing, so opening a page is one run of the page, and nothing interrupts a click.
const REMEMBERED = {};  // by key: what was chosen, for the page to show again when the reader comes back to it

// A choice as a part of the address: a number, a word, a list of words (after a comma), or named lists. The app reads it.
function addressed(value) {
  const bare = (word) => String(word).replace(/[,;:]/g, " ");
  if (!Array.isArray(value)) return value === null || value === undefined ? "" : String(value);
  if (!value.length) return "";
  if (Array.isArray(value[0])) return value.map(([name, members]) => `${bare(name)}:${members.map(bare).join(",")}`).join(";");
  return `${value.map(bare).join(",")},`;
}

function toAddress(prefix, names, said) {
  const address = new URL(window.location.href);
  for (const name of names) {
    const text = addressed(said[name]);
    if (text) address.searchParams.set(`${prefix}_${name}`, text);
    else address.searchParams.delete(`${prefix}_${name}`);
  }
  if (address.href !== window.location.href) window.history.replaceState(window.history.state, "", address);
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const { keep = [], heed = [], key = "" } = data, page = window.location.pathname;
  const write = () => {  // a browser allows a page few changes of its address a second, a slider makes many
    clearTimeout(parentElement.twinprobeWriting);
    parentElement.twinprobeWriting = setTimeout(() => {
      if (parentElement.isConnected && window.location.pathname === page) toAddress(key, keep, REMEMBERED[key]);
    }, 150);
  };
  if (REMEMBERED[key]) write();  // a run of the page may have written the address without them
  const shown = JSON.stringify(data);
  if (parentElement.twinprobeShown === shown) return;
  const first = parentElement.twinprobeShown === undefined;
  parentElement.twinprobeShown = shown;
  let root = parentElement.querySelector(".tp-root");
  if (!root) {
    root = document.createElement("div");
    root.className = "tp-root";
    parentElement.append(root);
  }
  const asked = keep.some((name) => name in data);  // the address asked for something: it goes before what was chosen here
  const before = (first && asked ? null : REMEMBERED[key]) || {}, kept = {};
  for (const name of keep) if ((before[name] ?? null) !== null) kept[name] = before[name];
  let last = null;
  const tell = (said) => {
    if (said.act) {
      if (said.anew) { REMEMBERED[key] = {}; write(); }  // what is drawn next begins as it does by itself
      setTriggerValue("act", said);
      return;
    }
    const changed = (name) => JSON.stringify(said[name] ?? null) !== JSON.stringify(last[name] ?? null);
    if (last && Object.keys(said).some(changed)) {
      REMEMBERED[key] = said;
      write();
      if (heed.some(changed)) setStateValue("chosen", said);
    }
    last = said;
  };
  drawView(root, { ...data, ...kept }, tell, data.dark);
}
