// Operating points: which there are, which models have them, what they promise.
import { element } from "./dom.js";
import { rate } from "./format.js";

const ORDER = ["sensitive", "balanced", "strict", "optimal"];

/** Names of the operating points the given models have. */
export function operatingPoints(models) {
  const names = new Set(
    models.flatMap((model) => model.operating_points.map((point) => point.name)),
  );
  return [
    ...ORDER.filter((name) => names.has(name)),
    ...[...names].filter((name) => !ORDER.includes(name)),
  ];
}

const has = (model, name) => model.operating_points.some((point) => point.name === name);

/** Says which of the models have an operating point, in brackets; empty where all have it. */
export function whoHas(models, name) {
  const owners = models.filter((model) => has(model, name));
  if (owners.length === models.length) return "";
  if (owners.length === 1) return `(${owners[0].name} only)`;
  return `(${owners.length} of ${models.length} models)`;
}

/** What an operating point is good for, and which models do not have it. */
export function pointLine(models, name) {
  const points = models.flatMap((model) =>
    model.operating_points.filter((point) => point.name === name),
  );
  if (points.length === 0) return "These models are not calibrated: scores without verdicts.";
  const [point] = points;
  const promise =
    point.target_fpr === null
      ? `Set by ${point.rule}; no false-alarm rate is promised.`
      : `At most ${rate(point.target_fpr)} of real faces like those of the calibration are called fake.`;
  const without = models.filter((model) => !has(model, name)).map((model) => model.name);
  if (without.length === 0) return promise;
  return `${promise} Not set for ${without.join(", ")}: no verdict from there.`;
}

/** The choice of another operating point for a card; null where there is none. */
export function pointChooser(asked, models, onChoice) {
  const names = operatingPoints(models);
  if (names.length < 2) return null;
  const select = element(
    "select",
    { onchange: () => onChoice(select.value) },
    names.map((name) =>
      element(
        "option",
        { value: name, selected: name === asked.operatingPoint },
        `${name} ${whoHas(models, name)}`.trim(),
      ),
    ),
  );
  return element("label", null, "Judged at ", select);
}
