// The picture or the video itself, as it lies on the user's disk, with boxes around the faces.
import { element } from "./dom.js";
import { score as scoreText } from "./format.js";

function placed(node, [left, top, width, height]) {
  node.style.left = `${100 * left}%`;
  node.style.top = `${100 * top}%`;
  node.style.width = `${100 * width}%`;
  node.style.height = `${100 * height}%`;
  return node;
}

/** An image; boxes are buttons that lead to the face below. */
export function imageStage(address, name, onFace) {
  const image = element("img", {
    src: address,
    alt: name,
    class: "stage-media",
    draggable: "false",
  });
  const layer = element("div", { class: "boxes" });
  const loaded = image.decode().catch(() => null);
  image.addEventListener("error", () => node.classList.add("no-preview"));
  const node = element(
    "div",
    { class: "stage" },
    element("div", { class: "stage-fit" }, image, layer),
  );
  return {
    node,
    image,
    loaded,
    showFaces(faces) {
      const boxes = faces.map((face, index) =>
        placed(
          element(
            "button",
            {
              type: "button",
              class: "box",
              "aria-label": `Face ${index + 1}, score ${scoreText(face.score)}: show it below`,
              onclick: () => onFace(index),
            },
            element("span", { class: "box-number", "aria-hidden": "true" }, String(index + 1)),
          ),
          face.box,
        ),
      );
      layer.replaceChildren(...boxes);
    },
  };
}

/** Faces of the frame nearest to a time; none where no frame that was looked at is near. */
export function facesAt(faces, frames, seconds) {
  const gaps = frames.slice(1).map((frame, index) => frame.seconds - frames[index].seconds);
  const reach = Math.max(0.06, (gaps.length ? Math.min(...gaps) : 0.2) / 2);
  const away = (face) => Math.abs(face.seconds - seconds);
  const best = Math.min(reach, ...faces.map(away));
  return faces.filter((face) => away(face) <= best + 1e-6);
}

/** A video, played from the file; shows the boxes of the frames that were looked at. */
export function videoStage(address, name) {
  const video = element("video", {
    src: address,
    controls: true,
    playsinline: true,
    preload: "auto",
    class: "stage-media",
    "aria-label": name,
  });
  video.muted = true;
  const layer = element("div", { class: "boxes" });
  const trouble = element(
    "p",
    { class: "note small", hidden: true },
    "This browser cannot play this video format. The result is not affected.",
  );
  const node = element(
    "div",
    { class: "stage" },
    element("div", { class: "stage-fit" }, video, layer),
    trouble,
  );
  video.addEventListener("error", () => {
    trouble.hidden = false;
    node.classList.add("no-preview");
  });
  const loaded = new Promise((resolve) => {
    for (const event of ["loadeddata", "error"])
      video.addEventListener(event, resolve, { once: true });
  });
  let faces = [];
  let lookedAt = [];

  function draw() {
    const shown = facesAt(faces, lookedAt, video.currentTime);
    layer.replaceChildren(
      ...shown.map((face) =>
        placed(
          element(
            "div",
            { class: "box", "data-person": face.person },
            element("span", { class: "box-number" }, `Person ${face.person}`),
          ),
          face.box,
        ),
      ),
    );
  }

  for (const event of ["timeupdate", "seeked", "loadeddata"]) video.addEventListener(event, draw);
  return {
    node,
    video,
    loaded,
    showFaces(found, frames) {
      faces = found;
      lookedAt = frames;
      draw();
    },
  };
}
