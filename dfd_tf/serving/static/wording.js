// What is said about a verdict. Nothing here claims certainty.
import { plural, rate } from "./format.js";

const VERDICTS = {
  real: { word: "Looks real", tone: "real", icon: "real" },
  fake: { word: "Looks fake", tone: "fake", icon: "fake" },
  inconclusive: { word: "Inconclusive", tone: "inconclusive", icon: "inconclusive" },
  "no face": { word: "No face found", tone: "neutral", icon: "no face" },
};
const NONE = { word: "No verdict", tone: "neutral", icon: "none" };

/** Word, colour and icon of a verdict; null is "no verdict". */
export function verdictLook(verdict) {
  return VERDICTS[verdict] ?? NONE;
}

/** A p-value against real calibration faces, in words. */
export function realPhotosThisHigh(pValue, calibration, what = "photos") {
  return counted(
    pValue,
    what === "photos" ? calibration?.num_real : null,
    `real calibration ${what}`,
    "high",
  );
}

/** A p-value against fakes of the calibration, in words. */
export function fakesThisLow(pValue, calibration, what = "photos") {
  return counted(
    pValue,
    what === "photos" ? calibration?.num_fake : null,
    `fake calibration ${what}`,
    "low",
  );
}

/** A conformal p-value is (1 + count) / (n + 1): with n known the count itself can be said. */
function counted(pValue, total, things, end) {
  const p = `p\u00a0=\u00a0${Number(pValue.toPrecision(3))}`;
  if (!total)
    return `About ${Number((100 * pValue).toPrecision(2))} of 100 ${things} score this ${end} (${p}).`;
  const count = Math.round(pValue * (total + 1)) - 1;
  if (count === 0) return `None of ${total} ${things} scores this ${end} (${p}).`;
  return `${count} of ${total} ${things} ${count === 1 ? "scores" : "score"} this ${end} (${p}).`;
}

/** The promise of the operating point. A video without a p-value was held against limits of photos. */
export function promise(result) {
  if (result.promised_fpr === null) {
    return result.video && result.p_value === null
      ? "The threshold was set on single photos: no false-alarm rate is promised for videos."
      : "This operating point promises no false-alarm rate.";
  }
  const alarms = `At most ${rate(result.promised_fpr)} of real ${result.video ? "videos" : "faces"} like those of the calibration are called fake`;
  if (result.promised_miss === null) return `${alarms}.`;
  return `${alarms}, and at most ${rate(result.promised_miss)} of fakes of the calibrated kinds are called real.`;
}

/** Names of the runs that disagree, or null where they agree; "inconclusive" contradicts nobody. */
export function disagreement(results) {
  const groups = ["fake", "real"].map((verdict) =>
    results.filter((one) => one.verdict === verdict),
  );
  if (groups.some((group) => group.length === 0)) return null;
  const [fake, real] = groups.map((group) => group.map((one) => one.model_name).join(", "));
  return `The models disagree: ${fake} finds it looks fake, ${real} finds it looks real. Trust neither without another look.`;
}

/** One line about a card, for screen readers and the history. */
export function summary(name, results) {
  const words = results.map((one) => verdictLook(one.verdict).word.toLowerCase());
  const distinct = [...new Set(words)];
  return `${name}: ${distinct.length === 1 ? distinct[0] : `${plural(results.length, "model")} say ${words.join(", ")}`}`;
}

/** Whether the network, or a member of it, started from random weights. */
export function startedRandom(pretrained) {
  return /(^|: )random/i.test(pretrained ?? "");
}

/** Whether a model takes the whole picture for the face. */
export function seesWholePicture(model) {
  return model?.faces === "none";
}

/** What a face of an image is called. */
export function faceName(model, index) {
  return seesWholePicture(model) ? "Whole picture" : `Face ${index + 1}`;
}

/** What a person of a video is called. */
export function personName(model, person) {
  return seesWholePicture(model) ? "Whole picture" : `Person ${person}`;
}
