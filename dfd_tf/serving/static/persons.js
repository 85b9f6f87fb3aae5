// The people of a video, one tab each.
import { element } from "./dom.js";
import { clock, duration, percent, plural, score as scoreText } from "./format.js";
import { facesPanel } from "./faces.js";
import { icon } from "./icons.js";
import { makeTabs } from "./tabs.js";
import { scoreValue, verdictBadge } from "./verdict.js";
import {
  countsOf,
  imageCalibration,
  pText,
  personName,
  realThisHigh,
  seesWholePicture,
  verdictLook,
} from "./wording.js";

function row(name, ...value) {
  return element("div", { class: "fact" }, element("dt", null, name), element("dd", null, value));
}

function secondOpinion(temporal) {
  if (!temporal) return null;
  const numbers = Object.entries(temporal.statistics ?? {})
    .filter(([, value]) => value !== null)
    .map(([name, value]) => element("li", null, `${name.replace("_", " ")} ${scoreText(value)}`));
  return element(
    "div",
    { class: "note" },
    element(
      "p",
      null,
      element("strong", null, "Second opinion, from the changes over time. "),
      temporal.p_value === null ? "No p-value." : pText(temporal.p_value),
    ),
    temporal.note && element("p", { class: "soft small" }, temporal.note),
    numbers.length > 0 && element("ul", { class: "inline small soft" }, numbers),
  );
}

function personPanel(result, person, model) {
  const doubt = imageCalibration(result, model);
  const telling = result.explanations.filter(
    (one) => result.faces[one.face]?.person === person.person,
  );
  return element(
    "div",
    { class: "person", "data-person": person.person },
    element(
      "div",
      null,
      element("p", null, verdictBadge(person.verdict)),
      person.reason && element("p", { class: "reason" }, person.reason),
      element(
        "dl",
        { class: "facts" },
        row(
          "Score",
          scoreValue(person.score),
          result.threshold === null ? "" : ` (threshold ${scoreText(result.threshold)})`,
        ),
        row(
          "Probability",
          person.probability === null
            ? "not calibrated"
            : [percent(person.probability), doubt && `, ${doubt}`],
        ),
        row(
          "Seen",
          `${plural(person.num_frames, "frame")}, from ${clock(person.first_seconds)} to ${clock(person.last_seconds)} (${duration(person.last_seconds - person.first_seconds)})`,
        ),
        person.p_value !== null &&
          row("p-value", realThisHigh(person.p_value, countsOf(model, true), true)),
      ),
      !person.counted &&
        element(
          "p",
          { class: "note small" },
          "Seen in too few frames to decide: this person does not count for the verdict on the video.",
        ),
      secondOpinion(person.temporal),
    ),
    telling.length > 0 &&
      facesPanel(
        result,
        telling,
        (index) =>
          `Most telling ${seesWholePicture(model) ? "frame" : "face"}, at ${clock(result.faces[index].seconds)}`,
      ).node,
  );
}

/** The people of a result; nothing where there is none. */
export function personsPanel(result, model) {
  if (result.persons.length === 0) return null;
  const panels = result.persons.map((person) => personPanel(result, person, model));
  const labels = result.persons.map((person) => ({
    label: [
      element("span", { class: "swatch", "data-person": person.person }),
      element("span", null, personName(model, person.person)),
      icon(verdictLook(person.verdict).icon),
      element("span", { class: "hidden" }, `, ${verdictLook(person.verdict).word}`),
    ],
  }));
  const tabs = makeTabs("People in the video", labels, (index) =>
    tabs.panel.replaceChildren(panels[index]),
  );
  tabs.panel.append(panels[0]);
  return element("div", { class: "persons" }, tabs.list, tabs.panel);
}
