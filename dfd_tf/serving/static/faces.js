// Face crops with the heat map laid over them; what an autoencoder made of the face, and the rest.
import { element, freshId } from "./dom.js";
import { scoreValue } from "./verdict.js";

const START = 60;
const LEAST_ALPHA = 8; // of 255

export const HEAT_MEANING =
  "Bright is where this model’s score comes from: it says where, never how much. It shows what the model used, not that something is wrong there.";

function picture(address, caption, alt) {
  return element(
    "figure",
    { class: "crop" },
    element("div", { class: "crop-stack" }, element("img", { src: address, alt })),
    element("figcaption", null, caption),
  );
}

/** Whether no pixel of a heat map can be seen. */
export async function isEmpty(heat) {
  await heat.decode().catch(() => null);
  const [width, height] = [heat.naturalWidth, heat.naturalHeight];
  if (!width || !height) return false;
  const context = element("canvas", { width, height }).getContext("2d");
  context.drawImage(heat, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return data.every((value, index) => index % 4 !== 3 || value < LEAST_ALPHA);
}

function heatPicture(explanation, name, heats) {
  const heat = element("img", { src: explanation.heat, alt: "", class: "heat" });
  const caption = element("figcaption", null, "Heat map");
  heats.push(heat);
  isEmpty(heat).then((empty) => {
    if (empty) caption.textContent = "Heat map is empty: no place stands out";
  });
  return element(
    "figure",
    { class: "crop" },
    element(
      "div",
      { class: "crop-stack" },
      element("img", {
        src: explanation.crop,
        alt: `${name}, as the model saw it, with the heat map over it`,
      }),
      heat,
    ),
    caption,
  );
}

function slider(heats) {
  const id = freshId("opacity");
  const output = element("output", { for: id, class: "number" });
  const apply = (value) => {
    output.textContent = `${value} %`;
    heats.forEach((heat) => {
      heat.style.opacity = String(value / 100);
    });
  };
  const input = element("input", {
    type: "range",
    id,
    min: "0",
    max: "100",
    step: "1",
    value: String(START),
    oninput: (event) => apply(Number(event.target.value)),
  });
  apply(START);
  return element(
    "div",
    { class: "opacity" },
    element("label", { for: id }, "Heat map strength"),
    input,
    output,
  );
}

/**
 * @param {object} result of one model
 * @param {object[]} explanations those to show
 * @param {(index: number) => string} nameOf what a face is called
 * @returns {{node: HTMLElement, focus: (face: number) => void}}
 */
export function facesPanel(result, explanations, nameOf) {
  const heats = [];
  const rows = new Map();
  for (const explanation of [...explanations].sort((a, b) => a.face - b.face)) {
    const face = result.faces[explanation.face];
    const name = nameOf(explanation.face);
    rows.set(
      explanation.face,
      element(
        "li",
        { class: "face", tabindex: "-1" },
        element(
          "p",
          { class: "face-name" },
          element("strong", null, name),
          face && [" score ", scoreValue(face.score)],
        ),
        element(
          "div",
          { class: "crops" },
          heatPicture(explanation, name, heats),
          explanation.reconstruction &&
            picture(
              explanation.reconstruction,
              "Rebuilt by the model",
              `${name}, as the autoencoder rebuilt it`,
            ),
          explanation.difference &&
            picture(
              explanation.difference,
              "Difference",
              `${name}: what the autoencoder could not rebuild`,
            ),
        ),
      ),
    );
  }
  const node = element(
    "div",
    { class: "faces" },
    heats.length > 0 && slider(heats),
    element("ol", { class: "face-list" }, [...rows.values()]),
    heats.length > 0 &&
      element(
        "p",
        { class: "soft small" },
        HEAT_MEANING,
      ),
  );
  return {
    node,
    focus(index) {
      const row = rows.get(index);
      row?.focus({ preventScroll: true });
      row?.scrollIntoView({ block: "nearest" });
    },
  };
}
