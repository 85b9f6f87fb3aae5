// The picture of a report: the image, or the telling frame of a video, with boxes and numbers.
import { element } from "./dom.js";
import { clock } from "./format.js";
import { facesAt } from "./stage.js";
import { personName, seesWholePicture } from "./wording.js";

const SIDE = 900;
const SEEK_MS = 3000;

function drawBox(context, [left, top, across, down], label) {
  const { width, height } = context.canvas;
  const box = [left * width, top * height, across * width, down * height];
  const line = Math.max(2, width / 220);
  const size = Math.max(12, width / 40);
  context.lineWidth = 2 * line;
  context.strokeStyle = "#12172a";
  context.strokeRect(...box);
  context.lineWidth = line;
  context.strokeStyle = "#fff";
  context.strokeRect(...box);
  context.font = `bold ${size}px sans-serif`;
  const wide = context.measureText(label).width + size;
  const [x, y] = [Math.min(box[0], width - wide), Math.max(0, box[1])];
  context.fillStyle = "#12172a";
  context.fillRect(x, y, wide, 1.5 * size);
  context.fillStyle = "#fff";
  context.fillText(label, x + 0.5 * size, y + 1.1 * size);
}

function drawn(source, boxes) {
  const width = source.naturalWidth ?? source.videoWidth;
  const height = source.naturalHeight ?? source.videoHeight;
  if (!width || !height) return null;
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const canvas = element("canvas", {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
  });
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  for (const { box, label } of boxes) drawBox(context, box, label);
  return canvas.toDataURL("image/jpeg", 0.88);
}

function seek(video, seconds) {
  return new Promise((resolve) => {
    video.addEventListener("seeked", resolve, { once: true });
    setTimeout(resolve, SEEK_MS);
    video.currentTime = seconds;
  });
}

function figure(address, name, caption) {
  if (!address) return element("p", null, "This browser cannot show the file.");
  return element(
    "figure",
    null,
    element("img", { src: address, class: "report-picture", alt: name }),
    element("figcaption", { class: "soft" }, caption),
  );
}

function pictureOfImage(stage, result, model, name) {
  const isWhole = seesWholePicture(model);
  const boxes = result.faces.map(({ box }, index) => ({ box, label: String(index + 1) }));
  const caption = isWhole || boxes.length === 0 ? "No boxes: no face was found or looked for." : "";
  return figure(
    drawn(stage.image, isWhole ? [] : boxes),
    name,
    caption || `Numbered: the faces as found for ${result.model_name}.`,
  );
}

/** The highest-scored face of a person who counts, where there is one. */
function tellingFace(result) {
  const counted = new Set(
    result.persons.filter((person) => person.counted).map((person) => person.person),
  );
  const faces = result.faces.filter((face) => counted.has(face.person));
  return faces.reduce((best, face) => (best && best.score >= face.score ? best : face), null);
}

async function pictureOfVideo({ video }, result, model, name) {
  if (!video.videoWidth) return figure(null);
  const telling = tellingFace(result);
  const before = video.currentTime;
  video.pause();
  if (telling) await seek(video, telling.seconds);
  const faces = telling ? facesAt(result.faces, result.video.frames, telling.seconds) : [];
  const boxes = seesWholePicture(model)
    ? []
    : faces.map(({ box, person }) => ({ box, label: personName(model, person) }));
  const address = drawn(video, boxes);
  const at = clock(video.currentTime);
  if (telling) video.currentTime = before;
  const what = telling ? `the frame with the highest score for ${result.model_name}` : "no face";
  return figure(address, name, `At ${at}: ${what}.`);
}

/** The picture of a file with what a model found in it, as a figure. */
export async function reportPicture(stage, result, model, name) {
  return stage.image
    ? pictureOfImage(stage, result, model, name)
    : pictureOfVideo(stage, result, model, name);
}
