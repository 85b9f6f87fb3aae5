// The page: asks for the models, then turns every file it is given into a card.
import { announce } from "./announcer.js";
import { fetchModels } from "./api.js";
import { makeCard } from "./card.js";
import { button, element } from "./dom.js";
import { droppedFiles } from "./dropped_files.js";
import { plural } from "./format.js";
import { makeHistory } from "./history.js";
import { limitsLine } from "./limits.js";
import { makeSettings } from "./settings.js";
import { makeTriage } from "./triage.js";
import { makeWebcam } from "./webcam.js";
import { seesWholePicture } from "./wording.js";

const LOADING_MS = 1000;

const place = (id) => document.getElementById(id);
const cards = place("cards");
const page = {
  models: new Map(),
  limits: null,
  version: "",
  remember: makeHistory(place("history")),
  onChange: () => triage([...shown]),
  onRemove,
};
const triage = makeTriage(place("triage"), cards, () => page.version);
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
  triage([...shown]);
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

async function addDropped(dropped) {
  const { files, unreadable } = await droppedFiles(dropped);
  const trouble = place("unreadable");
  trouble.hidden = unreadable.length === 0;
  trouble.textContent = `Could not be read: ${unreadable.join(", ")}.`;
  if (unreadable.length > 0) announce(trouble.textContent);
  else if (files.length === 0) announce("There is no file in what was dropped.");
  add(files);
}

function showModels({ models, limits, version }) {
  page.models = new Map(models.map((model) => [model.name, model]));
  page.limits = limits;
  page.version = version;
  place("version").textContent = version;
  place("limits").textContent = limitsLine(limits);
  place("what-is-scored").textContent = models.every(seesWholePicture)
    ? "The whole picture is scored as one face."
    : models.some(seesWholePicture)
      ? "Some models score every face, others the whole picture."
      : "Every face is scored.";
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
}

function acceptRemoveAll() {
  const dialog = place("sure");
  place("remove-all").addEventListener("click", () => {
    place("sure-title").textContent = `Remove all ${shown.size} results?`;
    dialog.showModal();
  });
  place("sure-no").addEventListener("click", () => dialog.close());
  place("sure-yes").addEventListener("click", () => {
    dialog.close();
    [...shown].forEach((card) => card.remove());
  });
}

/** On paper there are no tabs: what they hide is put below. The report of a card has it all. */
function expandForPaper() {
  const isReport = () => document.body.classList.contains("reporting");
  addEventListener("beforeprint", () => isReport() || shown.forEach((card) => card.expand()));
  addEventListener("afterprint", () => shown.forEach((card) => card.fold()));
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
    addDropped(event.dataTransfer);
  });
}

acceptFiles();
acceptDrops();
acceptRemoveAll();
expandForPaper();
makeWebcam((file) => add([file]));
start();
