// A report for paper: picture, verdict, numbers, caveats, model, date, fingerprint of the file.
import { element } from "./dom.js";
import { bytes, clock, percent, score as scoreText } from "./format.js";
import { sha256 } from "./fingerprint.js";
import {
  disagreement,
  faceName,
  personName,
  seesWholePicture,
  startedRandom,
  verdictLook,
} from "./wording.js";
import { doubts, meaning, verdictBadge } from "./verdict.js";

const SIDE = 900;

/** The picture, or the frame on show, with the boxes drawn in; null where it cannot be shown. */
function pictureOf(stage, faces) {
  const source = stage.image ?? stage.video;
  const [width, height] = [
    source.naturalWidth ?? source.videoWidth,
    source.naturalHeight ?? source.videoHeight,
  ];
  if (!width || !height) return null;
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const canvas = element("canvas", {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
  });
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  context.lineWidth = Math.max(2, canvas.width / 220);
  context.font = `bold ${Math.max(12, canvas.width / 36)}px sans-serif`;
  faces.forEach((face, index) => {
    const [left, top, across, down] = [
      face.box[0] * canvas.width,
      face.box[1] * canvas.height,
      face.box[2] * canvas.width,
      face.box[3] * canvas.height,
    ];
    context.strokeStyle = "#fff";
    context.strokeRect(left, top, across, down);
    context.strokeStyle = "#1d2433";
    context.strokeRect(
      left - context.lineWidth,
      top - context.lineWidth,
      across + 2 * context.lineWidth,
      down + 2 * context.lineWidth,
    );
    context.fillStyle = "#fff";
    context.fillText(
      String(index + 1),
      left + 6,
      top + 1.1 * Number.parseFloat(context.font.slice(5)),
    );
  });
  return canvas.toDataURL("image/jpeg", 0.88);
}

function row(name, value) {
  return element("tr", null, element("th", { scope: "row" }, name), element("td", null, value));
}

function modelSection(result, model) {
  const list = [...meaning(result, model), ...doubts(result)];
  const people = result.persons.map((person) =>
    row(
      personName(model, person.person),
      `${verdictLook(person.verdict).word.toLowerCase()}, score ${scoreText(person.score)}, seen from ${clock(person.first_seconds)} to ${clock(person.last_seconds)}`,
    ),
  );
  const faces = result.video
    ? []
    : result.faces.map((face, index) =>
        row(faceName(model, index), `score ${scoreText(face.score)}`),
      );
  const place = (one) => (result.video ? result.faces[one.face]?.person : one.face);
  const pictures = result.explanations
    .slice(0, 4)
    .sort((a, b) => place(a) - place(b))
    .map((one) => {
      const name = result.video
        ? personName(model, result.faces[one.face]?.person)
        : faceName(model, one.face);
      return element(
        "figure",
        { class: "crop" },
        element(
          "div",
          { class: "crop-stack" },
          element("img", { src: one.crop, alt: name }),
          element("img", { src: one.heat, alt: "", class: "heat" }),
        ),
        element("figcaption", null, name),
      );
    });
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
    element(
      "table",
      { class: "report-table" },
      element(
        "tbody",
        null,
        row(
          "Probability of fake",
          result.probability === null
            ? "not calibrated"
            : `${percent(result.probability)}, calibrated`,
        ),
        row("Score", result.score === null ? "none" : scoreText(result.score)),
        row(
          "Threshold",
          result.threshold === null
            ? "none"
            : `${scoreText(result.threshold)} (${result.operating_point})`,
        ),
        row("Model", `${result.detector}, id ${result.model}`),
        row(
          "Initial weights",
          startedRandom(result.pretrained)
            ? element("strong", null, result.pretrained)
            : result.pretrained,
        ),
        result.video && row("Frames", result.video.sampling),
        people,
        faces,
      ),
    ),
    list.length > 0 &&
      element(
        "ul",
        null,
        list.map((line) => element("li", null, line)),
      ),
    pictures.length > 0 && element("div", { class: "crops" }, pictures),
  );
}

/** Fills the report. */
async function buildReport({ file, answer, when, stage }, models, version) {
  const place = document.getElementById("report");
  const [first] = answer.results;
  const faces =
    answer.kind === "video" || seesWholePicture(models.get(first.model_name)) ? [] : first.faces;
  const picture = pictureOf(stage, faces);
  const digest = await sha256(file);
  const conflict = answer.results.length > 1 && disagreement(answer.results);
  place.replaceChildren(
    element("h1", null, "Deepfake check"),
    element("p", { class: "report-name" }, file.name),
    element(
      "p",
      { class: "soft" },
      `${bytes(file.size)} · checked ${when.toLocaleString()} · dfd-tf ${version}`,
    ),
    digest ? element("p", { class: "soft" }, "SHA-256 ", element("code", null, digest)) : "",
    picture ? element("img", { src: picture, class: "report-picture", alt: file.name }) : "",
    conflict ? element("p", { class: "note warning" }, conflict) : "",
    ...answer.results.map((result) => modelSection(result, models.get(result.model_name))),
    element(
      "p",
      { class: "report-foot" },
      "This is a statistical estimate, not proof. It compares the faces with those a model was calibrated on; other cameras, other processing and other kinds of fakes can give other results. Do not base a decision about a person on it alone.",
    ),
  );
  await Promise.all(
    [...place.querySelectorAll("img")].map((image) => image.decode().catch(() => null)),
  );
}

/** Prints the report of a card, and nothing else of the page. */
export async function printReport(card, models, version) {
  await buildReport(card, models, version);
  document.body.classList.add("reporting");
  addEventListener("afterprint", () => document.body.classList.remove("reporting"), { once: true });
  window.print();
}
