// What is said about a verdict. Nothing here claims certainty.
import { rate } from "./format.js";

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

/** Counts of what a result is held against: images, or clips; null where they are not known. */
export function countsOf(model, isVideo) {
  return (isVideo ? model?.calibration?.video : model?.calibration) ?? null;
}

/** A p-value against the real ones of the calibration, in words. */
export function realThisHigh(pValue, counts, isVideo) {
  return counted(
    pValue,
    counts?.num_real,
    `real calibration ${isVideo ? "clips" : "photos"}`,
    "high",
  );
}

/** A p-value against the fakes of the calibration, in words. */
export function fakesThisLow(pValue, counts, isVideo) {
  return counted(
    pValue,
    counts?.num_fake,
    `fake calibration ${isVideo ? "clips" : "photos"}`,
    "low",
  );
}

/** A p-value as such. */
export function pText(pValue) {
  return `p\u00a0=\u00a0${Number(pValue.toPrecision(3))}`;
}

/** A conformal p-value is (1 + count) / (n + 1): with n known the count itself can be said. */
function counted(pValue, total, things, end) {
  const p = pText(pValue);
  if (!total) return `Against the ${things}: ${p}.`;
  const count = Math.round(pValue * (total + 1)) - 1;
  if (count === 0) return `None of ${total} ${things} scores this ${end} (${p}).`;
  return `${count} of ${total} ${things} ${count === 1 ? "scores" : "score"} this ${end} (${p}).`;
}

/** Said of a clip that was held against limits of single images, for want of clips; else null. */
export function imageCalibration(result, model) {
  if (!result.video || result.score === null) return null;
  const isOwn = countsOf(model, true) && !/limits are those of single images/.test(result.reason);
  return isOwn ? null : "calibrated on single images, not on clips";
}

/** The promise of the operating point. A video without a p-value was held against limits of photos. */
export function promise(result) {
  if (result.promised_fpr === null) {
    return result.video && result.p_value === null
      ? "The threshold was set on single photos: no false-alarm rate is promised for clips."
      : "This operating point promises no false-alarm rate.";
  }
  const alarms = `At most ${rate(result.promised_fpr)} of real ${result.video ? "clips" : "faces"} like those of the calibration are called fake`;
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
  return `The models disagree. Looks fake: ${fake}. Looks real: ${real}. Trust neither without another look.`;
}

/** One line about a card, for screen readers and the history. */
export function summary(name, results) {
  const words = results.map((one) => verdictLook(one.verdict).word.toLowerCase());
  if (results.length === 1) return `${name}: ${words[0]}`;
  return `${name}: ${results.map((one, index) => `${one.model_name} ${words[index]}`).join(", ")}`;
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

/** Says once for a file that nobody looked for faces; null where every model did. */
export function wholePictureNote(results, models) {
  const whole = results.filter((one) => seesWholePicture(models.get(one.model_name)));
  if (whole.length === 0) return null;
  const who =
    whole.length < results.length ? `${whole.map((one) => one.model_name).join(", ")}: no` : "No";
  return `${who} face was looked for; the whole picture was scored as one face.`;
}

/** The server's reason why a file cannot be used, with what to do about it. */
export function withAdvice(message) {
  if (/\b(HEIC|AVIF|TIFF)\b/.test(message)) return `${message}. Convert it to JPEG or PNG.`;
  if (/\banimated\b/.test(message))
    return "This picture is animated: save one frame as an image, or the whole as MP4 or WebM.";
  return message;
}
