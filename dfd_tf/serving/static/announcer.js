// The one place that speaks to screen readers: lines that come close together are said together.

const PAUSE_MS = 1500;
const MOST_LINES = 4;

let lines = [];
let timer = null;

function speak() {
  timer = null;
  if (lines.length === 0) return;
  const said = lines.slice(0, MOST_LINES);
  const more = lines.length - said.length;
  document.getElementById("announcer").textContent =
    said.join(". ") + (more > 0 ? `. And ${more} more.` : "");
  lines = [];
  timer = setTimeout(speak, PAUSE_MS);
}

/** Says a line, at once or after the one before had its time. */
export function announce(line) {
  lines.push(line);
  if (timer === null) speak();
}
