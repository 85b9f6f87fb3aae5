// Verdicts of earlier files, in this browser only.
import { button, element } from "./dom.js";
import { percent, score as scoreText } from "./format.js";
import { verdictBadge } from "./verdict.js";

const ENTRIES = "dfd-tf.history";
const SWITCH = "dfd-tf.history-off";
const MOST = 50;
const THUMB = 96;
const EMPTY =
  "Verdicts and small pictures of what you check appear here. They stay in this browser.";
const OFF = "Off: new results are not remembered. What is listed stays until it is cleared.";
const BLOCKED = "This browser lets the page store nothing, so nothing is remembered.";
const FULL = "This browser has no room left for this page: the last result was not remembered.";

const isNumber = (value) => value === null || Number.isFinite(value);

/** Whether an entry is whole: other versions of the page, and other programs, write here too. */
function isEntry(entry) {
  const isResult = (one) =>
    typeof one?.model === "string" &&
    (one.verdict === null || typeof one.verdict === "string") &&
    isNumber(one.score) &&
    isNumber(one.probability);
  return (
    typeof entry?.name === "string" &&
    typeof entry.when === "string" &&
    !Number.isNaN(Date.parse(entry.when)) &&
    (entry.picture === null ||
      (typeof entry.picture === "string" && entry.picture.startsWith("data:image/"))) &&
    Array.isArray(entry.results) &&
    entry.results.every(isResult)
  );
}

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(ENTRIES) ?? "[]");
    return Array.isArray(found) ? found.filter(isEntry) : [];
  } catch {
    return [];
  }
}

/** Stores as many of the newest entries as there is room for; tells whether there was for any. */
function write(entries) {
  for (let kept = Math.min(entries.length, MOST); kept > 0; kept = Math.floor(kept / 2)) {
    try {
      localStorage.setItem(ENTRIES, JSON.stringify(entries.slice(0, kept)));
      return true;
    } catch {
      // no room: try with fewer
    }
  }
  return false;
}

function isBlocked() {
  try {
    localStorage.getItem(SWITCH);
    return false;
  } catch {
    return true;
  }
}

function isOff() {
  try {
    return localStorage.getItem(SWITCH) === "1";
  } catch {
    return true; // storage is switched off
  }
}

function switchOff(off) {
  try {
    if (off) localStorage.setItem(SWITCH, "1");
    else localStorage.removeItem(SWITCH);
  } catch {
    // storage is switched off: there is no history
  }
}

/** A small square of the picture or of the frame on show; null where it cannot be drawn. */
export function thumbnail(source) {
  const [width, height] = [
    source.naturalWidth ?? source.videoWidth,
    source.naturalHeight ?? source.videoHeight,
  ];
  if (!width || !height) return null;
  const side = Math.min(width, height);
  const canvas = element("canvas", { width: THUMB, height: THUMB });
  canvas
    .getContext("2d")
    .drawImage(source, (width - side) / 2, (height - side) / 2, side, side, 0, 0, THUMB, THUMB);
  return canvas.toDataURL("image/jpeg", 0.7);
}

function numbers(result) {
  const probability = result.probability === null ? "" : ` · ${percent(result.probability)}`;
  return `${result.model} · score ${result.score === null ? "none" : scoreText(result.score)}${probability}`;
}

function entryRow(entry) {
  return element(
    "li",
    null,
    entry.picture
      ? element("img", { src: entry.picture, alt: "", width: 48, height: 48 })
      : element("span", { class: "no-picture" }),
    element(
      "div",
      null,
      element("p", { class: "history-name" }, entry.name),
      entry.results.map((result) =>
        element(
          "p",
          { class: "small" },
          verdictBadge(result.verdict, "badge small"),
          element("span", { class: "soft block" }, numbers(result)),
        ),
      ),
      element("p", { class: "soft small" }, new Date(entry.when).toLocaleString()),
    ),
  );
}

/**
 * Shows the history.
 *
 * @param {HTMLElement} place
 * @returns {(name: string, when: Date, results: object[], picture: string|null) => void} adds an entry
 */
export function makeHistory(place) {
  const list = element("ol", {
    class: "history-list",
    tabindex: "0",
    "aria-label": "Earlier results",
  });
  let isFull = false;
  const nothing = element("p", { class: "soft small" });
  const clear = button(
    "Clear",
    () => {
      try {
        localStorage.removeItem(ENTRIES);
      } catch {
        // storage is switched off: nothing is there
      }
      isFull = false;
      draw();
    },
    "button quiet",
  );
  const box = element("input", {
    type: "checkbox",
    checked: !isOff(),
    onchange: () => {
      switchOff(!box.checked);
      box.checked = !isOff();
      draw();
    },
  });

  function draw() {
    const entries = read();
    list.replaceChildren(...entries.map(entryRow));
    list.hidden = entries.length === 0;
    clear.hidden = entries.length === 0;
    nothing.hidden = entries.length > 0 && !isFull && box.checked;
    nothing.textContent = isFull ? FULL : box.checked ? EMPTY : isBlocked() ? BLOCKED : OFF;
  }

  place.replaceChildren(
    element(
      "div",
      { class: "history-tools" },
      element("label", { class: "check" }, box, element("span", null, "Remember in this browser")),
      clear,
    ),
    nothing,
    list,
  );
  draw();
  return (name, when, results, picture) => {
    if (isOff()) return;
    const kept = results.map((one) => ({
      model: one.model_name,
      verdict: one.verdict,
      score: one.score,
      probability: one.probability,
    }));
    isFull = !write([{ name, when: when.toISOString(), picture, results: kept }, ...read()]);
    draw();
  };
}
