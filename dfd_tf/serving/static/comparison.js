// Several models beside each other: one column a model, and whether they disagree.
import { element } from "./dom.js";
import { percent } from "./format.js";
import { icon } from "./icons.js";
import { scoreValue, verdictBadge } from "./verdict.js";
import { disagreement, imageCalibration, verdictLook } from "./wording.js";

/** The note that the models disagree, or null. */
export function disagreementNote(results) {
  const words = disagreement(results);
  return (
    words &&
    element(
      "p",
      { class: "note warning disagreement" },
      icon("inconclusive"),
      element("span", null, words),
    )
  );
}

function probability(result, model) {
  const doubt = imageCalibration(result, model);
  return [
    percent(result.probability),
    doubt && element("span", { class: "soft small block" }, doubt),
  ];
}

/** A table of the results for a file, one column a model. */
export function comparisonTable(results, name, models) {
  const cells = (cell) =>
    results.map((result) =>
      element("td", { "data-model": result.model_name }, element("div", null, cell(result))),
    );
  const rows = [
    ["Verdict", cells((result) => verdictBadge(result.verdict))],
    [
      "Probability of fake",
      cells((result) =>
        result.probability === null
          ? element("span", { class: "soft" }, result.score === null ? "none" : "not calibrated")
          : probability(result, models.get(result.model_name)),
      ),
    ],
    ["Score", cells((result) => scoreValue(result.score))],
    [
      "Threshold",
      cells((result) =>
        result.threshold === null
          ? element("span", { class: "soft" }, "none")
          : [scoreValue(result.threshold), ` ${result.operating_point}`],
      ),
    ],
  ];
  const table = element(
    "table",
    { class: results.length > 2 ? "comparison many" : "comparison" },
    element(
      "thead",
      null,
      element(
        "tr",
        null,
        element("td", null),
        results.map((result) => element("th", { scope: "col" }, result.model_name)),
      ),
    ),
    element(
      "tbody",
      null,
      rows.map(([title, content]) =>
        element("tr", null, element("th", { scope: "row" }, title), content),
      ),
    ),
  );
  table.style.setProperty("--models", String(results.length));
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `Models compared on ${name}` },
    table,
  );
}

/** What a model's tab says. */
export function modelTab(result) {
  const look = verdictLook(result.verdict);
  return [
    icon(look.icon),
    element("span", null, result.model_name),
    element("span", { class: "hidden" }, `, ${look.word}`),
  ];
}
