// A report for paper: picture, verdicts, numbers, calibration, and which bytes it is about.
import { element } from "./dom.js";
import { fingerprint } from "./fingerprint.js";
import { bytes, duration, isoTime } from "./format.js";
import { modelSection, row, table } from "./report_model.js";
import { reportPicture } from "./report_picture.js";
import { disagreement, wholePictureNote } from "./wording.js";

function sizeText({ image, video }) {
  const size = video ?? image;
  if (!size) return "not known";
  const pixels = `${size.width} × ${size.height} pixels`;
  return video?.duration_seconds ? `${pixels}, ${duration(video.duration_seconds)} long` : pixels;
}

function askedText(asked) {
  const parts = [
    asked.operatingPoint && `operating point ${asked.operatingPoint}`,
    `stability check ${asked.stability ? "on" : "off"}`,
    asked.dense && "every frame of videos",
  ];
  return parts.filter(Boolean).join(", ");
}

async function facts({ file, asked, answer, when }, version) {
  const digest = await fingerprint(file, answer);
  return table(
    row("File", `${file.name}, ${bytes(file.size)} (${file.size} bytes)`),
    row(
      "SHA-256",
      digest.value
        ? [element("code", null, digest.value), ` computed by ${digest.by}`]
        : `not available because ${digest.by}`,
    ),
    row(answer.kind === "video" ? "Video" : "Image", sizeText(answer)),
    row("Checked", isoTime(when)),
    row("Asked", askedText(asked)),
    row("Program", `dfd-tf ${version}`),
  );
}

/** Fills the report. */
async function buildReport(card, version) {
  const { file, answer, stage, models } = card;
  const place = document.getElementById("report");
  const { results } = answer;
  const modelOf = (result) => models.get(result.model_name);
  const notes = [
    wholePictureNote(results, models),
    results.length > 1 ? disagreement(results) : null,
  ].filter(Boolean);
  const sections = [];
  for (const result of results) sections.push(await modelSection(result, modelOf(result)));
  place.replaceChildren(
    element("h1", null, "Deepfake check"),
    element("p", { class: "report-name" }, file.name),
    await facts(card, version),
    await reportPicture(stage, results[0], modelOf(results[0]), file.name),
    ...notes.map((note) => element("p", { class: "note warning" }, note)),
    ...sections,
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
export async function printReport(card, version) {
  await buildReport(card, version);
  const before = document.title;
  document.title = `dfd-tf report ${card.file.name}`; // browsers name the PDF after it
  document.body.classList.add("reporting");
  addEventListener(
    "afterprint",
    () => {
      document.body.classList.remove("reporting");
      document.title = before;
    },
    { once: true },
  );
  window.print();
}
