// One file: its progress, its answer, and what can be done with it.
import { announce } from "./announcer.js";
import { layOut } from "./answer.js";
import { button, element, freshId } from "./dom.js";
import { exportJson } from "./export.js";
import { groupLook, groupOf } from "./file_verdict.js";
import { bytes } from "./format.js";
import { thumbnail } from "./history.js";
import { icon } from "./icons.js";
import { UNREADABLE, isReadable, kindOf, overLimit, tooManyPixels } from "./limits.js";
import { pointChooser } from "./operating_points.js";
import { makeProgress } from "./progress.js";
import { printReport } from "./report.js";
import { check } from "./uploads.js";
import { toneBadge } from "./verdict.js";
import { summary, withAdvice } from "./wording.js";

/** Width and height of an image file; null where this browser cannot read it. */
async function imageSize(address) {
  const image = new Image();
  image.src = address;
  return image.decode().then(
    () => [image.naturalWidth, image.naturalHeight],
    () => null,
  );
}

function errorNote(message) {
  return element(
    "p",
    { class: "note failed" },
    icon("error"),
    element("span", null, message),
  );
}

/** The card's frame: head with title, line and buttons, and the place of the content. */
function makeFrame(file, kind) {
  const id = freshId("card");
  const title = element("h3", { id, tabindex: "-1" }, file.name);
  const body = element("div", { class: "card-body", id: freshId("card-body") });
  const line = element("p", { class: "card-line" });
  const actions = element("div", { class: "actions" });
  const expander = button("Show", null, "button quiet expander");
  expander.setAttribute("aria-controls", body.id);
  expander.setAttribute("aria-describedby", id);
  const facts = `${kind === "video" ? "Video" : "Image"}, ${bytes(file.size)}`;
  const node = element(
    "article",
    { class: "card", "aria-labelledby": id, "data-state": "running" },
    element(
      "header",
      { class: "card-head" },
      element("div", { class: "card-title" }, title, element("p", { class: "soft small" }, facts)),
      line,
      element("div", { class: "actions" }, expander, actions),
    ),
    body,
  );
  return { node, title, body, line, actions, expander };
}

/**
 * @param {File} file
 * @param {object} asked from the settings
 * @param {{models: Map<string, object>, limits: object, version: string, remember: Function, onChange: Function, onRemove: Function}} page
 * @returns {object} node; group: its verdict's group or null while it runs; content for exports;
 *   cancel, remove, collapse; expand and fold for paper
 */
export function makeCard(file, asked, page) {
  const kind = kindOf(file);
  const address = URL.createObjectURL(file);
  const { node, title, body, line, actions, expander } = makeFrame(file, kind);
  let cancelling = null;
  let laidOut = null;
  let answer = null;
  let failure = null;
  let when = null;
  let opened = null; // what the user chose: open, closed, or nothing yet
  let isFolded = false;

  function show(state, content, buttons) {
    const hadFocus = node.contains(document.activeElement);
    node.dataset.state = state;
    body.replaceChildren(...[content].flat());
    actions.replaceChildren(...buttons);
    line.replaceChildren(
      state === "running" ? "Checking …" : toneBadge(groupLook(group()), group()),
    );
    if (hadFocus && !node.contains(document.activeElement)) title.focus({ preventScroll: true });
    page.onChange();
  }

  function group() {
    const { state } = node.dataset;
    if (state === "running") return null;
    return state === "done" ? groupOf(answer.results) : state;
  }

  function fold() {
    const isOpen = opened ?? !isFolded;
    body.hidden = !isOpen;
    node.classList.toggle("folded", !isOpen);
    expander.setAttribute("aria-expanded", String(isOpen));
    expander.lastChild.textContent = isOpen ? "Hide" : "Show";
  }

  /** Folded or not unless the user chose; null: there is nothing to choose. */
  function collapse(folded) {
    if (folded === null) opened = null;
    isFolded = Boolean(folded) && (isFolded || !node.contains(document.activeElement));
    fold();
  }

  expander.addEventListener("click", () => {
    opened = body.hidden;
    fold();
  });

  function remove() {
    cancelling?.abort();
    URL.revokeObjectURL(address);
    node.remove();
    page.onRemove(card);
  }

  const removeButton = () => button("Remove", remove, "button quiet", icon("close"));
  const againButton = () => button("Try again", () => run(asked), "button quiet", icon("again"));

  function showError(message) {
    failure = withAdvice(message);
    when = new Date();
    show("failed", errorNote(failure), [againButton(), removeButton()]);
    announce(`${file.name}: ${failure}`);
  }

  function showCancelled() {
    const note = element("p", { class: "note" }, "Cancelled.");
    show("cancelled", note, [againButton(), removeButton()]);
  }

  const content = () => ({
    file,
    asked,
    answer,
    when,
    error: answer ? null : failure,
    models: page.models,
    stage: laidOut?.stage,
  });

  function showAnswer() {
    laidOut = layOut(answer, { address, name: file.name }, page.models, laidOut?.stage);
    const chooser = pointChooser(
      asked,
      asked.models.map((name) => page.models.get(name)).filter(Boolean),
      (operatingPoint) => run({ ...asked, operatingPoint, explain: false }),
    );
    const tools =
      chooser &&
      element(
        "div",
        { class: "asked" },
        chooser,
        answer.kind === "video" &&
          element("span", { class: "soft small" }, "another choice sends the video again"),
        element("span", { class: "soft small" }, when.toLocaleTimeString()),
      );
    show("done", [tools, laidOut.node].filter(Boolean), [
      button("JSON", () => exportJson(content(), page.version), "button quiet", icon("download")),
      button("Report", () => printReport(content(), page.version), "button quiet", icon("print")),
      removeButton(),
    ]);
  }

  /** A history that cannot be kept must not take the verdict with it. */
  async function remember() {
    try {
      const source = laidOut.stage.image ?? laidOut.stage.video;
      await laidOut.stage.loaded;
      page.remember(file.name, when, answer.results, thumbnail(source));
    } catch {
      // the verdict is on the card all the same
    }
  }

  async function refusal() {
    if (!(await isReadable(file))) return UNREADABLE;
    const early = overLimit(file, kind, page.limits);
    if (early || kind === "video") return early;
    const size = await imageSize(address);
    return size && tooManyPixels(...size, page.limits);
  }

  function showProgress(isFirst) {
    const progress = makeProgress();
    const cancel = button("Cancel", () => cancelling.abort(), "button quiet", icon("close"));
    if (isFirst) show("running", progress.node, [cancel]);
    else {
      node.dataset.state = "running";
      body.querySelector("select").disabled = true;
      body.prepend(progress.node);
      actions.replaceChildren(cancel);
      page.onChange();
    }
    return progress.update;
  }

  /** Takes the answer of a first or another question. */
  function take(found, request, isFirst) {
    when = new Date();
    answer = isFirst ? found : withExplanations(found, answer);
    asked = { ...request, explain: true };
    showAnswer();
    if (!isFirst) body.querySelector("select").focus(); // it had the focus before
    announce(summary(file.name, answer.results));
  }

  async function run(request) {
    const isFirst = answer === null;
    cancelling = new AbortController();
    const { signal } = cancelling;
    const onStage = showProgress(isFirst);
    try {
      const refused = await refusal();
      if (refused) throw new Error(refused);
      take(await check(file, answer?.kind ?? kind, request, signal, onStage), request, isFirst);
      if (isFirst) await remember();
    } catch (error) {
      const isCancelled = error.name === "AbortError";
      if (!isFirst) {
        showAnswer(); // the one there was
        if (!isCancelled) {
          body.prepend(errorNote(withAdvice(error.message)));
          announce(`${file.name}: ${withAdvice(error.message)}`);
        }
      } else if (isCancelled) showCancelled();
      else showError(error.message);
    }
  }

  const card = {
    node,
    group,
    remove,
    content: () => (node.dataset.state === "running" ? null : content()),
    cancel: () => cancelling.abort(),
    expand: () => laidOut?.expand(),
    fold: () => laidOut?.fold(),
    collapse,
  };
  fold();
  queueMicrotask(() => run(asked)); // the page has to know the card first
  return card;
}

/** Heat maps do not depend on the operating point: those there are stay. */
function withExplanations(found, earlier) {
  const known = new Map(earlier.results.map((result) => [result.model, result.explanations]));
  return {
    ...found,
    results: found.results.map((result) => ({
      ...result,
      explanations: known.get(result.model) ?? [],
    })),
  };
}
