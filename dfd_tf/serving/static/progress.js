// How far a file has come.
import { element, freshId } from "./dom.js";
import { bytes } from "./format.js";

const WORDS = {
  waiting: "Waiting for its turn",
  uploading: "Uploading",
  queued: "In the server’s queue",
  reading: "Finding faces",
  scoring: "Scoring",
  explaining: "Drawing heat maps",
};

function counted({ stage, done, total }) {
  if (!total) return "";
  if (stage === "uploading") return `${bytes(done)} of ${bytes(total)}`;
  return stage === "reading" ? `frame ${done} of ${total}` : "";
}

/** A bar and a line. */
export function makeProgress() {
  const id = freshId("progress");
  const words = element("span", { id });
  const count = element("span", { class: "soft number" });
  const bar = element("progress", { "aria-labelledby": id });

  function update(state) {
    const text =
      state.stage === "busy"
        ? "The server is busy; trying again shortly"
        : (WORDS[state.stage] ?? "Working");
    words.textContent = text;
    count.textContent = state.stage === "busy" ? `in ${state.seconds} s` : counted(state);
    if (state.total && ["uploading", "reading"].includes(state.stage)) {
      bar.max = state.total;
      bar.value = state.done;
    } else bar.removeAttribute("value");
  }

  update({ stage: "waiting" });
  return {
    node: element("div", { class: "progress" }, element("p", null, words, " ", count), bar),
    update,
  };
}
