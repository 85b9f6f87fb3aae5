// A score on a line with the thresholds of the operating points.
import { svg } from "./dom.js";
import { score as scoreText } from "./format.js";

const WIDTH = 360;
const HEIGHT = 66;
const EDGE = 12;
const LINE_Y = 36;
const LETTER = 5.6;

/**
 * @param {number} score
 * @param {{name: string, threshold: number}[]} points
 * @param {string|null} active name of the operating point in force
 */
export function scoreScale(score, points, active) {
  const values = [score, ...points.map((point) => point.threshold)];
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const x = (value) => EDGE + ((value - low + 0.12 * span) / (1.24 * span)) * (WIDTH - 2 * EDGE);
  const activePoint = points.find((point) => point.name === active);
  const parts = [
    svg("line", { x1: EDGE, x2: WIDTH - EDGE, y1: LINE_Y, y2: LINE_Y, class: "scale-line" }),
    activePoint &&
      svg("line", {
        x1: x(activePoint.threshold),
        x2: WIDTH - EDGE,
        y1: LINE_Y,
        y2: LINE_Y,
        class: "scale-above",
      }),
    points.map((point) =>
      svg("line", {
        x1: x(point.threshold),
        x2: x(point.threshold),
        y1: LINE_Y - 8,
        y2: LINE_Y + 8,
        class: point === activePoint ? "scale-tick active" : "scale-tick",
      }),
    ),
    labels(points, activePoint, x),
    svg("path", { d: `M${x(score)} ${LINE_Y - 6}l-7-11h14z`, class: "scale-score" }),
    svg(
      "text",
      {
        x: clamp(x(score), 34),
        y: LINE_Y - 22,
        class: "scale-text strong",
        "text-anchor": "middle",
      },
      scoreText(score),
    ),
  ];
  const place = points.map((point) => `${point.name} ${scoreText(point.threshold)}`).join(", ");
  return svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: "scale",
      role: "img",
      "aria-label": `Score ${scoreText(score)} on a line with the thresholds ${place}. Higher means more likely fake.`,
    },
    parts.flat(2).filter(Boolean),
  );
}

/** Names under the ticks, the one in force first; those that would overlap are left out. */
function labels(points, activePoint, x) {
  const taken = [];
  const ordered = [activePoint, ...points.filter((point) => point !== activePoint)].filter(Boolean);
  return ordered.map((point) => {
    const half = (LETTER * point.name.length) / 2 + 4;
    const centre = clamp(x(point.threshold), half);
    if (taken.some(([from, to]) => centre - half < to && centre + half > from)) return null;
    taken.push([centre - half, centre + half]);
    const className = point === activePoint ? "scale-text strong" : "scale-text";
    return svg(
      "text",
      { x: centre, y: LINE_Y + 24, class: className, "text-anchor": "middle" },
      point.name,
    );
  });
}

function clamp(value, margin) {
  return Math.min(Math.max(value, margin), WIDTH - margin);
}
