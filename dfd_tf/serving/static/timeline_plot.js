// The picture of scores over time: axes, threshold, a line a person, frames without a face.
import { svg } from "./dom.js";
import { score as scoreText } from "./format.js";

const HEIGHT = 190;
const PAD = { left: 46, right: 12, top: 14, bottom: 34 };
const MARKS_UP_TO = 90;
export const SHAPES = [
  (x, y) => `M${x - 3.2} ${y}a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0`,
  (x, y) => `M${x - 3} ${y - 3}h6v6h-6z`,
  (x, y) => `M${x} ${y - 3.8}l3.8 6.8h-7.6z`,
  (x, y) => `M${x} ${y - 4}l4 4l-4 4l-4-4z`,
];

/** A person's frames as runs of neighbouring frames: a gap is a gap in the line. */
function runs(result, person) {
  const best = new Map();
  for (const face of result.faces) {
    if (face.person === person && face.score > (best.get(face.frame)?.score ?? -Infinity))
      best.set(face.frame, face);
  }
  const found = [[]];
  for (const frame of result.video.frames) {
    const face = best.get(frame.frame);
    if (face) found.at(-1).push(face);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length > 0);
}

function niceTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9; k += 1)
    ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/** Seconds from start to end of what is shown. */
export function endOf(result) {
  return Math.max(
    result.video.duration_seconds ?? 0,
    result.video.frames.at(-1)?.seconds ?? 0,
    0.1,
  );
}

/** Lowest and highest score on the plot. */
function range(result) {
  const values = result.faces.map((face) => face.score);
  if (result.threshold !== null) values.push(result.threshold);
  const [least, most] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const margin = 0.1 * (most - least || 1);
  return [least - margin, most + margin];
}

/**
 * Draws the plot.
 *
 * @param {object} result a video's result
 * @param {number} width in pixels
 * @returns {{node: SVGElement, moveTo: (seconds: number) => void, secondsAt: (x: number) => number}}
 */
export function drawPlot(result, width) {
  const frames = result.video.frames;
  const end = endOf(result);
  const [low, high] = range(result);
  const span = width - PAD.left - PAD.right;
  const floor = HEIGHT - PAD.bottom;
  const x = (seconds) => PAD.left + (seconds / end) * span;
  const y = (score) => PAD.top + ((high - score) / (high - low)) * (floor - PAD.top);
  const across = (height, className) =>
    svg("line", { x1: PAD.left, x2: PAD.left + span, y1: height, y2: height, class: className });

  function axes() {
    const times = niceTicks(0, end, Math.max(2, Math.floor(width / 110)));
    return [
      niceTicks(low, high, 5).map((tick) => [
        across(y(tick), "grid"),
        svg(
          "text",
          { x: PAD.left - 8, y: y(tick) + 4, class: "axis", "text-anchor": "end" },
          scoreText(tick),
        ),
      ]),
      times.map((tick) =>
        svg(
          "text",
          {
            x: x(tick),
            y: HEIGHT - 8,
            class: "axis",
            "text-anchor": tick === 0 ? "start" : x(tick) > width - 40 ? "end" : "middle",
          },
          `${tick} s`,
        ),
      ),
    ];
  }

  function thresholdParts() {
    if (result.threshold === null) return [];
    const line = y(result.threshold);
    return [
      svg("rect", {
        x: PAD.left,
        width: span,
        y: PAD.top,
        height: Math.max(0, line - PAD.top),
        class: "above",
      }),
      across(line, "threshold-line"),
    ];
  }

  function personParts() {
    const marks = frames.length <= MARKS_UP_TO;
    return result.persons.map((person, index) => {
      const lines = runs(result, person.person);
      return svg(
        "g",
        { "data-person": person.person, class: person.counted ? "" : "uncounted" },
        lines.map((run) =>
          svg("polyline", {
            points: run.map((face) => `${x(face.seconds)},${y(face.score)}`).join(" "),
            class: "person-line",
          }),
        ),
        lines
          .flat()
          .filter((_, place, all) => marks || all.length === 1)
          .map((face) =>
            svg("path", {
              d: SHAPES[index % SHAPES.length](x(face.seconds), y(face.score)),
              class: "person-mark",
            }),
          ),
      );
    });
  }

  function facelessParts() {
    return frames
      .filter((frame) => frame.num_faces === 0)
      .map((frame) =>
        svg("path", {
          d: `m${x(frame.seconds) - 3.5} ${floor - 9}l7 7m0-7l-7 7`,
          class: "faceless",
        }),
      );
  }

  const marker = svg(
    "g",
    { class: "now" },
    svg("line", { x1: 0, x2: 0, y1: PAD.top - 6, y2: floor }),
    svg("circle", { cx: 0, cy: PAD.top - 6, r: 5 }),
  );
  const parts = [
    thresholdParts(),
    axes(),
    across(floor, "axis-line"),
    facelessParts(),
    personParts(),
    marker,
  ];
  const size = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT };
  return {
    node: svg("svg", { ...size, "aria-hidden": "true", focusable: "false" }, parts),
    moveTo: (seconds) => marker.setAttribute("transform", `translate(${x(seconds)} 0)`),
    secondsAt: (place) => ((place - PAD.left) / span) * end,
  };
}
