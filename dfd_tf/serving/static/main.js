// The page: asks for the models, then turns every file it is given into a card.
import { fetchModels } from "./api.js";
import { makeCard } from "./card.js";
import { announce, button, element } from "./dom.js";
import { plural } from "./format.js";
import { makeHistory } from "./history.js";
import { limitsLine } from "./limits.js";
import { makeSettings } from "./settings.js";
import { makeWebcam } from "./webcam.js";

const LOADING_MS = 1000;

const place = (id) => document.getElementById(id);
const cards = place("cards");
const page = {
  models: new Map(),
  limits: null,
  version: "",
  remember: makeHistory(place("history")),
  onRemove,
};
const shown = new Set();
let ask = null;

function onRemove(card) {
  shown.delete(card);
  tidy();
  place("results").focus({ preventScroll: true }); // the button that had it is gone
}

function tidy() {
  place("empty").hidden = shown.size > 0;
  place("drop").classList.toggle("compact", shown.size > 0);
  place("remove-all").hidden = shown.size < 2;
}

function add(files) {
  if (ask === null || files.length === 0) return;
  for (const file of files) {
    const card = makeCard(file, ask(), page);
    shown.add(card);
    cards.prepend(card.node);
  }
  tidy();
  announce(`${plural(files.length, "file")} added.`);
}

function showModels({ models, limits, version }) {
  page.models = new Map(models.map((model) => [model.name, model]));
  page.limits = limits;
  page.version = version;
  place("version").textContent = version;
  place("limits").textContent = limitsLine(limits);
  const change = element("a", { href: "#settings-panel" }, "Change");
  ask = makeSettings(place("settings"), models, (line) =>
    place("asking").replaceChildren(line, change),
  );
  for (const name of ["choose", "webcam"]) place(name).disabled = false;
}

async function start() {
  try {
    const found = await fetchModels();
    if (found.models.length > 0) return showModels(found);
    place("settings").replaceChildren(
      element("p", { class: "soft", role: "status" }, "The server is loading its models …"),
    );
    setTimeout(start, LOADING_MS);
  } catch (error) {
    place("settings").replaceChildren(
      element("p", { class: "note failed", role: "alert" }, error.message),
      button("Try again", start),
    );
  }
  return undefined;
}

function acceptFiles() {
  const input = place("files");
  place("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  addEventListener("paste", (event) => add([...event.clipboardData.files]));
  place("remove-all").addEventListener("click", () => [...shown].forEach((card) => card.remove()));
}

function acceptDrops() {
  const veil = place("veil");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    veil.hidden = depth > 0 ? veil.hidden : true;
  });
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    add([...event.dataTransfer.files]);
  });
}

acceptFiles();
acceptDrops();
makeWebcam((file) => add([file]));
start();
