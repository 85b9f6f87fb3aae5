// Line icons, 24 x 24.
import { svg } from "./dom.js";

const PATHS = {
  real: ["M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18", "m8 12.3 2.8 2.8L16 9.6"],
  fake: ["M12 3.5 2.8 20h18.4z", "M12 10v4.5", "M12 17.3v.2"],
  inconclusive: [
    "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18",
    "M9.6 9.4a2.5 2.5 0 1 1 3.7 2.2c-.9.5-1.3 1-1.3 1.9",
    "M12 16.6v.2",
  ],
  "no face": ["M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18", "M8 12h8"],
  none: ["M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18", "m6 18 12-12"],
  error: ["M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18", "m9 9 6 6m0-6-6 6"],
  close: ["m6 6 12 12M18 6 6 18"],
  download: ["M12 4v11m-4.5-4.2L12 15.3l4.5-4.5", "M5 19.5h14"],
  print: ["M7 9V4h10v5", "M7 17H4v-7h16v7h-3", "M7 14h10v6H7z"],
  again: ["M19 12a7 7 0 1 1-2.2-5.1", "M19.5 3.5v4h-4"],
};

/** Makes an icon; decoration only, the words beside it say the same. */
export function icon(name) {
  const paths = PATHS[name].map((d) => svg("path", { d }));
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" },
    paths,
  );
}
