// What several models together make of a file, in one word.
import { verdictLook, disagreement } from "./wording.js";

/** Groups that files are sorted into, in the order of the summary. */
export const GROUPS = [
  ["fake", "fake"],
  ["real", "real"],
  ["inconclusive", "inconclusive"],
  ["disagree", "models disagree"],
  ["no face", "no face"],
  ["none", "no verdict"],
  ["failed", "failed"],
  ["cancelled", "cancelled"],
];

/** The group of a file's results; a fake or real stands where no model says the opposite. */
export function groupOf(results) {
  if (disagreement(results)) return "disagree";
  const said = new Set(results.map((one) => one.verdict));
  return ["fake", "real", "inconclusive", "no face"].find((one) => said.has(one)) ?? "none";
}

/** The icon and tone of a group. */
export function groupLook(group) {
  if (group === "disagree") return { ...verdictLook("inconclusive"), word: "Models disagree" };
  if (group === "failed") return { word: "Failed", tone: "fake", icon: "error" };
  if (group === "cancelled") return { word: "Cancelled", tone: "neutral", icon: "close" };
  return verdictLook(group);
}
