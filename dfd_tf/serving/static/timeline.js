// Scores over a video as a slider: click, drag or arrow keys seek the video.
import { element, svg } from "./dom.js";
import { clock, score as scoreText } from "./format.js";
import { SHAPES, drawPlot, endOf } from "./timeline_plot.js";

const LEAST_WIDTH = 280;

/** Which line is whose. */
export function legend(result, nameOf) {
  const entries = result.persons.map((person, index) =>
    element(
      "li",
      { "data-person": person.person },
      svg(
        "svg",
        { viewBox: "0 0 26 12", class: "key", "aria-hidden": "true" },
        svg("path", { d: "M1 6H25", class: "person-line" }),
        svg("path", { d: SHAPES[index % SHAPES.length](13, 6), class: "person-mark" }),
      ),
      `${nameOf(person.person)}${person.counted ? "" : " (seen too briefly, does not decide)"}`,
    ),
  );
  const faceless = result.video.frames.some((frame) => frame.num_faces === 0);
  return element(
    "ul",
    { class: "legend small" },
    entries,
    result.threshold !== null &&
      element(
        "li",
        null,
        svg(
          "svg",
          { viewBox: "0 0 26 12", class: "key", "aria-hidden": "true" },
          svg("path", { d: "M1 6H25", class: "threshold-line" }),
        ),
        "Threshold",
      ),
    faceless &&
      element(
        "li",
        null,
        svg(
          "svg",
          { viewBox: "0 0 26 12", class: "key", "aria-hidden": "true" },
          svg("path", { d: "m9 2 8 8m0-8-8 8", class: "faceless" }),
        ),
        "No face in this frame",
      ),
  );
}

/** What there is at a time, for screen readers. */
function spoken(result, seconds, nameOf) {
  const frames = result.video.frames;
  if (frames.length === 0) return clock(seconds);
  const nearest = frames.reduce((a, b) =>
    Math.abs(b.seconds - seconds) < Math.abs(a.seconds - seconds) ? b : a,
  );
  const faces = result.faces.filter((face) => face.frame === nearest.frame);
  const words = faces.map((face) => `${nameOf(face.person)} scores ${scoreText(face.score)}`);
  return `${clock(seconds)}: ${words.join(", ") || "no face"}`;
}

/**
 * @param {object} result a video's result
 * @param {HTMLVideoElement} video
 * @param {(person: number) => string} nameOf what a person is called
 */
export function makeTimeline(result, video, nameOf) {
  const frames = result.video.frames;
  const end = endOf(result);
  const slider = element("div", {
    class: "timeline",
    role: "slider",
    tabindex: "0",
    "aria-label": "Time in the video",
    "aria-valuemin": "0",
    "aria-valuemax": end.toFixed(2),
    "aria-orientation": "horizontal",
  });
  const now = () => Math.min(video.currentTime || 0, end);
  let width = 0;
  let plot = null;

  function draw() {
    width = slider.clientWidth;
    plot = drawPlot(result, Math.max(LEAST_WIDTH, width));
    slider.replaceChildren(plot.node);
    plot.moveTo(now());
  }

  function follow() {
    plot.moveTo(now());
    slider.setAttribute("aria-valuenow", now().toFixed(2));
    slider.setAttribute("aria-valuetext", spoken(result, now(), nameOf));
  }

  function seek(seconds) {
    video.currentTime = Math.min(Math.max(seconds, 0), end);
    follow();
  }

  const seekTo = (event) =>
    seek(plot.secondsAt(event.clientX - slider.getBoundingClientRect().left));

  /** One frame that was looked at, or ten. */
  function step(count) {
    const time = now();
    const later = frames.filter((frame) => frame.seconds > time + 1e-3);
    const earlier = frames.filter((frame) => frame.seconds < time - 1e-3);
    const target =
      count > 0
        ? later[Math.min(count, later.length) - 1]
        : earlier[Math.max(0, earlier.length + count)];
    seek(target?.seconds ?? (count > 0 ? end : 0));
  }

  slider.addEventListener("pointerdown", (event) => {
    slider.setPointerCapture(event.pointerId);
    seekTo(event);
  });
  slider.addEventListener("pointermove", (event) => {
    if (slider.hasPointerCapture(event.pointerId)) seekTo(event);
  });
  slider.addEventListener("keydown", (event) => {
    const action = {
      ArrowRight: () => step(1),
      ArrowUp: () => step(1),
      ArrowLeft: () => step(-1),
      ArrowDown: () => step(-1),
      PageUp: () => step(10),
      PageDown: () => step(-10),
      Home: () => seek(0),
      End: () => seek(end),
      " ": () => (video.paused ? video.play() : video.pause()),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  for (const name of ["timeupdate", "seeking", "seeked", "loadedmetadata"])
    video.addEventListener(name, follow);
  video.addEventListener("play", function glide() {
    plot.moveTo(now());
    if (!video.paused && slider.isConnected) requestAnimationFrame(glide);
  });
  new ResizeObserver(() => slider.clientWidth && slider.clientWidth !== width && draw()).observe(
    slider,
  );
  draw();
  follow();
  return element(
    "figure",
    { class: "timeline-figure" },
    element(
      "figcaption",
      { class: "timeline-head" },
      element("strong", null, "Scores over time"),
      element(
        "span",
        { class: "soft small" },
        "click, drag or use the arrow keys to seek; higher = more likely fake",
      ),
    ),
    slider,
    legend(result, nameOf),
  );
}
