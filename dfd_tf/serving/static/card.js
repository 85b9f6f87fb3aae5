// One file: its progress, its answer, and what can be done with it.
import { announce, button, element, freshId } from "./dom.js";
import { check } from "./uploads.js";
import { layOut } from "./answer.js";
import { exportJson } from "./export.js";
import { bytes } from "./format.js";
import { thumbnail } from "./history.js";
import { icon } from "./icons.js";
import { kindOf, overLimit, tooManyPixels } from "./limits.js";
import { makeProgress } from "./progress.js";
import { printReport } from "./report.js";
import { operatingPoints } from "./settings.js";
import { summary } from "./wording.js";

/** Width and height of an image file; null where this browser cannot read it. */
async function imageSize(address) {
  const image = new Image();
  image.src = address;
  return image.decode().then(
    () => [image.naturalWidth, image.naturalHeight],
    () => null,
  );
}

/**
 * @param {File} file
 * @param {object} asked from the settings
 * @param {{models: Map<string, object>, limits: object, version: string, remember: Function, onRemove: Function}} page
 * @returns {{node: HTMLElement, remove: () => void}}
 */
export function makeCard(file, asked, page) {
  const kind = kindOf(file);
  const address = URL.createObjectURL(file);
  const title = freshId("card");
  const actions = element("div", { class: "actions" });
  const body = element("div", { class: "card-body" });
  const node = element(
    "article",
    { class: "card", "aria-labelledby": title, "data-state": "running" },
    element(
      "header",
      { class: "card-head" },
      element(
        "div",
        { class: "card-title" },
        element("h3", { id: title }, file.name),
        element(
          "p",
          { class: "soft small" },
          `${kind === "video" ? "Video" : "Image"}, ${bytes(file.size)}`,
        ),
      ),
      actions,
    ),
    body,
  );
  let cancelling = null;
  let stage = null;
  let answer = null;
  let when = null;

  function show(state, content, buttons) {
    node.dataset.state = state;
    body.replaceChildren(...[content].flat());
    actions.replaceChildren(...buttons);
  }

  function remove() {
    cancelling?.abort();
    URL.revokeObjectURL(address);
    node.remove();
    page.onRemove(card);
  }

  const removeButton = () => button("Remove", remove, "button quiet", icon("close"));
  const againButton = () => button("Try again", () => run(asked), "button quiet", icon("again"));

  const errorNote = (message) =>
    element(
      "p",
      { class: "note failed", role: "alert" },
      icon("error"),
      element("span", null, message),
    );

  function showError(message) {
    show("failed", errorNote(message), [againButton(), removeButton()]);
  }

  function pointChooser() {
    const names = operatingPoints(
      asked.models.map((name) => page.models.get(name)).filter(Boolean),
    );
    if (names.length < 2) return null;
    const select = element(
      "select",
      { onchange: () => run({ ...asked, operatingPoint: select.value, explain: false }) },
      names.map((name) =>
        element("option", { value: name, selected: name === asked.operatingPoint }, name),
      ),
    );
    const hint =
      answer.kind === "video" &&
      element("span", { class: "soft small" }, "another choice sends the video again");
    return element(
      "div",
      { class: "asked" },
      element("label", null, "Judged at ", select),
      hint,
      element("span", { class: "soft small" }, when.toLocaleTimeString()),
    );
  }

  function showAnswer() {
    const content = () => ({ file, asked, answer, when, stage });
    const laidOut = layOut(answer, { address, name: file.name }, page.models, stage);
    stage = laidOut.stage;
    show("done", [pointChooser(), laidOut.node].filter(Boolean), [
      button("JSON", () => exportJson(content(), page.version), "button quiet", icon("download")),
      button(
        "Report",
        () => printReport(content(), page.models, page.version),
        "button quiet",
        icon("print"),
      ),
      removeButton(),
    ]);
  }

  async function remember() {
    const source = stage.image ?? stage.video;
    await (stage.image
      ? stage.loaded
      : new Promise((resolve) => {
          if (source.readyState >= 2 || source.error) resolve();
          for (const event of ["loadeddata", "error"])
            source.addEventListener(event, resolve, { once: true });
        }));
    page.remember(file.name, when, answer.results, thumbnail(source));
  }

  async function refusal() {
    const early = overLimit(file, kind, page.limits);
    if (early || kind === "video") return early;
    const size = await imageSize(address);
    return size && tooManyPixels(...size, page.limits);
  }

  async function run(request) {
    const isFirst = answer === null;
    const progress = makeProgress();
    cancelling = new AbortController();
    const cancel = button("Cancel", () => cancelling.abort(), "button quiet", icon("close"));
    if (isFirst) show("running", progress.node, [cancel]);
    else {
      node.dataset.state = "running";
      body.querySelector("select").disabled = true;
      body.prepend(progress.node);
      actions.replaceChildren(cancel);
    }
    try {
      const refused = await refusal();
      if (refused) return showError(refused);
      const found = await check(
        file,
        answer?.kind ?? kind,
        request,
        cancelling.signal,
        progress.update,
      );
      when = new Date();
      answer = isFirst ? found : withExplanations(found, answer);
      asked = { ...request, explain: true };
      showAnswer();
      if (!isFirst) body.querySelector("select").focus(); // it had the focus before
      announce(summary(file.name, answer.results));
      if (isFirst) await remember();
    } catch (error) {
      const isCancelled = error.name === "AbortError";
      if (!isFirst) {
        showAnswer(); // the one there was
        if (!isCancelled) body.prepend(errorNote(error.message));
      } else if (isCancelled) showCancelled();
      else showError(error.message);
    }
    return undefined;
  }

  function showCancelled() {
    show("cancelled", element("p", { class: "note" }, "Cancelled."), [
      againButton(),
      removeButton(),
    ]);
  }

  const card = { node, remove };
  run(asked);
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
