// What one model says of one file.
import { element, freshId } from "./dom.js";
import { percent, score as scoreText } from "./format.js";
import { icon } from "./icons.js";
import { scoreScale } from "./scale.js";
import {
  countsOf,
  fakesThisLow,
  imageCalibration,
  promise,
  realThisHigh,
  startedRandom,
  verdictLook,
} from "./wording.js";

/** The verdict's word with its icon and colour. */
export function verdictBadge(verdict, className = "badge") {
  return toneBadge(verdictLook(verdict), verdict ?? "none", className);
}

/** A word with its icon and colour. */
export function toneBadge(look, verdict, className = "badge") {
  return element(
    "span",
    { class: className, "data-tone": look.tone, "data-verdict": verdict },
    icon(look.icon),
    element("span", null, look.word),
  );
}

/** A number on the page that can be read back in full. */
export function scoreValue(score) {
  return score === null
    ? "none"
    : element("data", { value: String(score), class: "number" }, scoreText(score));
}

function probabilityName(result, model) {
  const doubt = imageCalibration(result, model);
  return doubt ? `Probability of fake, ${doubt}` : "Calibrated probability of fake";
}

function probabilityRow(result, model) {
  if (result.probability === null) {
    const why =
      result.score === null
        ? "No face, no probability."
        : "Not calibrated: this model gives no probability.";
    return element("p", { class: "soft" }, why);
  }
  const id = freshId("probability");
  const fill = element("span", { class: "bar-fill" });
  fill.style.width = `${100 * result.probability}%`;
  const meter = {
    role: "meter",
    class: "bar",
    "aria-labelledby": id,
    "aria-valuemin": "0",
    "aria-valuemax": "1",
    "aria-valuenow": result.probability.toFixed(4),
    "aria-valuetext": percent(result.probability),
    "data-tone": verdictLook(result.verdict).tone,
  };
  return element(
    "div",
    { class: "probability" },
    element("span", { id }, probabilityName(result, model)),
    element(
      "data",
      { value: String(result.probability), class: "number strong" },
      percent(result.probability),
    ),
    element("div", meter, fill),
    result.verdict === "inconclusive" &&
      element(
        "p",
        { class: "soft small" },
        "The verdict is inconclusive: the probability alone must not decide.",
      ),
  );
}

function scoreRow(result, model) {
  if (result.score === null) return null;
  const points = result.video ? [] : (model?.operating_points ?? []);
  const threshold = result.threshold;
  const own = threshold === null ? [] : [{ name: result.operating_point, threshold }];
  const known = points.some((point) => point.name === result.operating_point);
  return element(
    "div",
    { class: "score" },
    element(
      "p",
      null,
      "Score ",
      scoreValue(result.score),
      threshold === null
        ? ", no threshold"
        : [
            result.score > threshold ? ", above the threshold " : ", not above the threshold ",
            scoreValue(threshold),
          ],
      element("span", { class: "soft" }, threshold === null ? "" : ` (${result.operating_point})`),
    ),
    (own.length > 0 || points.length > 0) &&
      scoreScale(result.score, known ? points : [...points, ...own], result.operating_point),
  );
}

/** Sentences that say what the numbers mean. */
export function meaning(result, model) {
  const isVideo = Boolean(result.video);
  const counts = countsOf(model, isVideo);
  return [
    result.p_value !== null && realThisHigh(result.p_value, counts, isVideo),
    result.p_value_fake !== null && fakesThisLow(result.p_value_fake, counts, isVideo),
    result.threshold !== null && result.score !== null && promise(result),
    ...Object.entries(result.redelivered ?? {}).map(
      ([how, value]) => `After ${how}: score ${scoreText(value)}.`,
    ),
  ].filter(Boolean);
}

/** What is doubtful: caveats, notes, a cut-short file. */
export function doubts(result) {
  return [
    result.truncated &&
      "Frames are missing: the file is cut short, or longer than the server looks at.",
    ...(result.caveats ?? []),
    ...(result.notes ?? []),
  ].filter(Boolean);
}

/** The verdict panel of one model. */
export function verdictPanel(result, model) {
  const lines = meaning(result, model);
  const warnings = doubts(result);
  return element(
    "div",
    { class: "verdict", "data-tone": verdictLook(result.verdict).tone },
    element("p", { class: "verdict-word" }, verdictBadge(result.verdict, "verdict-badge")),
    (result.error ?? result.reason) &&
      element("p", { class: "reason" }, result.error ?? result.reason),
    probabilityRow(result, model),
    scoreRow(result, model),
    lines.length > 0 &&
      element(
        "ul",
        { class: "meaning" },
        lines.map((line) => element("li", null, line)),
      ),
    startedRandom(result.pretrained) &&
      element(
        "p",
        { class: "note warning" },
        element("strong", null, "Random initial weights: "),
        `${result.pretrained}. Expect less than from a network that started from pretrained ones.`,
      ),
    warnings.length > 0 &&
      element(
        "ul",
        { class: "note warning" },
        warnings.map((line) => element("li", null, line)),
      ),
    element(
      "p",
      { class: "soft small model-line" },
      `${result.model_name} · ${result.detector} · model `,
      element("code", null, result.model),
      startedRandom(result.pretrained) ? "" : ` · initial weights: ${result.pretrained}`,
    ),
    element("p", { class: "soft small" }, "An estimate, not proof."),
  );
}
