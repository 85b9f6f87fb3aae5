// Which models are asked, and how: choices for files added from now on.
import { element, freshId } from "./dom.js";
import { operatingPoints, pointLine, whoHas } from "./operating_points.js";
import { startedRandom } from "./wording.js";

function modelLine(model) {
  const parts = [model.detector, `${model.image_size} px`, `id\u00a0${model.model}`];
  return parts.join(" · ");
}

function modelNotes(model) {
  const notes = [];
  if (startedRandom(model.pretrained)) notes.push(`Random initial weights: ${model.pretrained}`);
  if (!model.calibrated)
    notes.push("Not calibrated: scores, but no verdicts and no probabilities.");
  return [...notes, ...model.caveats];
}

function modelList(models, chosen, onChange) {
  const several = models.length > 1;
  const rows = models.map((model) => {
    const notes = modelNotes(model);
    const words = [
      element("strong", null, model.name),
      element("span", { class: "soft small block" }, modelLine(model)),
      model.calibration &&
        element(
          "span",
          { class: "soft small block" },
          `Calibrated on ${model.calibration.dataset}: ${model.calibration.num_real} real, ${model.calibration.num_fake} fake`,
        ),
    ];
    const box = element("input", {
      type: "checkbox",
      checked: true,
      onchange: (event) => onChange(model.name, event.target),
    });
    return element(
      "li",
      null,
      several
        ? element("label", { class: "check" }, box, element("span", null, words))
        : element("div", null, words),
      notes.length > 0 &&
        element(
          "ul",
          { class: "note warning small" },
          notes.map((note) => element("li", null, note)),
        ),
    );
  });
  return element(
    "fieldset",
    { class: "plain" },
    element("legend", null, several ? "Models to ask" : "Model"),
    element("ul", { class: "models" }, rows),
  );
}

/** The choice of an operating point; `update` follows the choice of models. */
function pointChoice(models, chosen, state) {
  const line = element("p", { class: "soft small", "aria-live": "polite" });
  const names = operatingPoints(models);
  const marks = new Map(names.map((name) => [name, element("small", { class: "block" })]));
  const asked = () => models.filter((model) => chosen.has(model.name));
  function update() {
    line.textContent = pointLine(asked(), state.operatingPoint);
    for (const [name, mark] of marks) {
      const owners = operatingPoints(asked()).includes(name);
      mark.textContent = owners ? whoHas(asked(), name) : "(not set)";
    }
  }
  update();
  if (names.length === 0) return { node: line, update };
  const group = freshId("point");
  const options = names.map((name) =>
    element(
      "label",
      null,
      element("input", {
        type: "radio",
        name: group,
        value: name,
        checked: name === state.operatingPoint,
        onchange: () => {
          state.operatingPoint = name;
          update();
        },
      }),
      element("span", null, name, " ", marks.get(name)),
    ),
  );
  const choices = element(
    "fieldset",
    { class: "segments wide" },
    element("legend", null, "Operating point"),
    options,
  );
  return { node: element("div", null, choices, line), update };
}

function checkbox(label, explanation, onChange) {
  return element(
    "label",
    { class: "check" },
    element("input", { type: "checkbox", onchange: (event) => onChange(event.target.checked) }),
    element("span", null, label, element("span", { class: "soft small block" }, explanation)),
  );
}

/** The choices in one line. */
function summaryLine(names, state) {
  const options = [
    state.operatingPoint && `at ${state.operatingPoint}`,
    state.stability && "with a stability check",
    state.dense && "every frame of videos",
  ];
  return `Asking ${names.join(" and ")} ${options.filter(Boolean).join(", ")}. `;
}

/**
 * Builds the settings and returns what they say.
 *
 * @param {HTMLElement} place
 * @param {object[]} models from the server
 * @param {(line: string) => void} onChange told the choices in one line
 * @returns {() => object} the request for a new file
 */
export function makeSettings(place, models, onChange) {
  const chosen = new Set(models.map((model) => model.name));
  const state = {
    operatingPoint:
      models.map((model) => model.default_operating_point).find(Boolean) ??
      operatingPoints(models)[0] ??
      null,
    stability: false,
    dense: false,
  };
  const toggle = (name, box) => {
    if (box.checked) chosen.add(name);
    else if (chosen.size > 1) chosen.delete(name);
    else box.checked = true; // somebody has to be asked
    points.update();
  };
  const points = pointChoice(models, chosen, state);
  place.replaceChildren(
    modelList(models, chosen, toggle),
    points.node,
    element(
      "fieldset",
      { class: "plain" },
      element("legend", null, "How closely to look"),
      checkbox(
        "Check stability",
        "Scores re-compressed copies too; a verdict that flips is inconclusive.",
        (on) => {
          state.stability = on;
        },
      ),
      checkbox("Every frame of videos", "Slower; otherwise evenly spaced frames.", (on) => {
        state.dense = on;
      }),
    ),
  );
  const names = () => models.map((model) => model.name).filter((name) => chosen.has(name));
  const tell = () => onChange(summaryLine(names(), state));
  place.addEventListener("change", tell);
  tell();
  return () => ({ ...state, models: names(), explain: true });
}
