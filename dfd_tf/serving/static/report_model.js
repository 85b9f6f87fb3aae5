// What a report says of one model: verdict, numbers, calibration, persons, faces with heat maps.
import { aggregation } from "./answer.js";
import { element } from "./dom.js";
import { HEAT_MEANING, isEmpty } from "./faces.js";
import { clock, percent, plural, score as scoreText } from "./format.js";
import { legend } from "./timeline.js";
import { drawPlot } from "./timeline_plot.js";
import { doubts, meaning, verdictBadge } from "./verdict.js";
import {
  faceName,
  imageCalibration,
  pText,
  personName,
  startedRandom,
  verdictLook,
} from "./wording.js";

const PLOT_WIDTH = 640;

export function row(name, ...value) {
  return element("tr", null, element("th", { scope: "row" }, name), element("td", null, value));
}

export function table(...rows) {
  return element("table", { class: "report-table" }, element("tbody", null, rows));
}

function calibrationText(result, model) {
  if (!model || model.model !== result.model)
    return "not known: the server has loaded another model since the page was opened";
  const { calibration } = model;
  if (!calibration) return "not calibrated";
  const { dataset, num_real: real, num_fake: fake, dataset_fingerprint: mark, video } = calibration;
  const clips = video ? `${video.num_real} real and ${video.num_fake} fake clips` : "no clips";
  return [
    `${dataset}: ${real} real and ${fake} fake images, ${clips}`,
    mark && [", fingerprint ", element("code", null, mark)],
  ];
}

function probabilityText(result, model) {
  if (result.probability === null) return result.score === null ? "none" : "not calibrated";
  return `${percent(result.probability)}, ${imageCalibration(result, model) ?? "calibrated"}`;
}

function numbers(result, model) {
  const facts = result.video;
  return table(
    row("Probability of fake", probabilityText(result, model)),
    row("Score", result.score === null ? "none" : scoreText(result.score)),
    row(
      "Threshold",
      result.threshold === null
        ? "none"
        : `${scoreText(result.threshold)} (${result.operating_point})`,
    ),
    result.p_value !== null && row("Against real ones", pText(result.p_value)),
    result.p_value_fake !== null && row("Against fakes", pText(result.p_value_fake)),
    row("Model", `${result.model_name}, ${result.detector}, id `, element("code", null, result.model)),
    row(
      "Initial weights",
      element(startedRandom(result.pretrained) ? "strong" : "span", null, result.pretrained),
    ),
    row("Calibration", calibrationText(result, model)),
    facts &&
      row(
        "Frames",
        `${facts.sampling}: looked at ${facts.frames.length} of ${facts.num_frames} in the file`,
      ),
    facts &&
      row(
        "Score of a person",
        `${aggregation(facts.aggregation)} over the frames (${facts.aggregation_reason})`,
      ),
  );
}

function temporalText(temporal) {
  if (!temporal) return "none";
  const p = temporal.p_value === null ? "no p-value" : pText(temporal.p_value);
  return temporal.note ? `${p}; ${temporal.note}` : p;
}

function personsTable(result, model) {
  if (result.persons.length === 0) return null;
  const doubt = imageCalibration(result, model);
  const columns = [
    ["", (one) => personName(model, one.person)],
    ["Verdict", (one) => verdictLook(one.verdict).word],
    ["Score", (one) => scoreText(one.score)],
    [
      doubt ? `Probability, ${doubt}` : "Probability",
      (one) => (one.probability === null ? "not calibrated" : percent(one.probability)),
    ],
    ["p", (one) => (one.p_value === null ? "none" : String(Number(one.p_value.toPrecision(3))))],
    ["Counted", (one) => (one.counted ? "yes" : "no")],
    [
      "Seen",
      (one) =>
        `${clock(one.first_seconds)} to ${clock(one.last_seconds)}, ${plural(one.num_frames, "frame")}`,
    ],
    ["Second opinion, from the changes over time", (one) => temporalText(one.temporal)],
  ];
  const body = result.persons.map((one) =>
    element(
      "tr",
      null,
      columns.map(([, read]) => element("td", null, read(one))),
    ),
  );
  const head = columns.map(([name]) => element("th", { scope: "col" }, name));
  return element(
    "table",
    { class: "report-table report-persons" },
    element("thead", null, element("tr", null, head)),
    element("tbody", null, body),
  );
}

function timeline(result, model) {
  if (!result.video) return null;
  const { node } = drawPlot(result, PLOT_WIDTH);
  node.querySelector(".now").remove();
  return element(
    "figure",
    { class: "report-timeline" },
    element("figcaption", null, "Scores over time, higher = more likely fake"),
    node,
    legend(result, (person) => personName(model, person)),
  );
}

function crop(address, caption, heat = null) {
  const stack = element(
    "div",
    { class: "crop-stack" },
    element("img", { src: address, alt: caption }),
    heat,
  );
  const words = element("figcaption", null, caption);
  const figure = element("figure", { class: "crop" }, stack, words);
  return { figure, words };
}

async function face(result, explanation, model) {
  const found = result.faces[explanation.face];
  const name = result.video
    ? `${personName(model, found?.person)} at ${clock(found?.seconds ?? 0)}`
    : faceName(model, explanation.face);
  const heat = element("img", { src: explanation.heat, alt: "", class: "heat" });
  const first = crop(explanation.crop, "Heat map", heat);
  if (await isEmpty(heat)) first.words.textContent = "Heat map is empty: no place stands out";
  return element(
    "li",
    { class: "report-face" },
    element("p", null, `${name}, score ${scoreText(found?.score ?? null)}`),
    element(
      "div",
      { class: "crops" },
      first.figure,
      explanation.reconstruction &&
        crop(explanation.reconstruction, "Rebuilt by the model").figure,
      explanation.difference && crop(explanation.difference, "Difference").figure,
    ),
  );
}

async function faces(result, model) {
  const explained = [...result.explanations].sort((a, b) => a.face - b.face);
  const shown = new Set(explained.map((one) => one.face));
  const rest = result.video ? [] : result.faces.filter((_, index) => !shown.has(index));
  if (explained.length === 0 && rest.length === 0) return null;
  return element(
    "div",
    { class: "report-faces" },
    element("ul", null, await Promise.all(explained.map((one) => face(result, one, model)))),
    rest.length > 0 &&
      element(
        "p",
        null,
        `Other faces: ${rest.map((one) => `${faceName(model, result.faces.indexOf(one))} score ${scoreText(one.score)}`).join(", ")}.`,
      ),
    explained.length > 0 && element("p", { class: "soft" }, HEAT_MEANING),
  );
}

/** The part of a report about one model. */
export async function modelSection(result, model) {
  const list = [...meaning(result, model), ...doubts(result)];
  return element(
    "section",
    { class: "report-model" },
    element(
      "h2",
      null,
      verdictBadge(result.verdict),
      element("span", { class: "soft" }, ` ${result.model_name}`),
    ),
    (result.error ?? result.reason) &&
      element("p", { class: "reason" }, result.error ?? result.reason),
    numbers(result, model),
    list.length > 0 &&
      element(
        "ul",
        { class: "report-list" },
        list.map((line) => element("li", null, line)),
      ),
    timeline(result, model),
    personsTable(result, model),
    await faces(result, model),
  );
}
