// Numbers as people read them.

/** Four significant digits, as the command line prints scores. */
export function score(value) {
  if (value === null) return "none";
  const text = Number(value.toPrecision(4)).toString();
  return text.replace("-", "−");
}

/** A probability in percent, never 0 or 100: a statistic is never certain. */
export function percent(value) {
  if (value < 0.01) return "under 1\u00a0%";
  if (value > 0.99) return "over 99\u00a0%";
  return `${Math.round(100 * value)}\u00a0%`;
}

/** A rate in percent with as many digits as it needs. */
export function rate(value) {
  return `${Number((100 * value).toPrecision(2))}\u00a0%`;
}

/** Bytes in the unit that fits. */
export function bytes(value) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))} ${units[unit]}`;
}

/** Seconds as m:ss.t. */
export function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  const minutes = Math.floor(tenths / 600);
  const rest = (tenths - 600 * minutes) / 10;
  return `${minutes}:${rest.toFixed(1).padStart(4, "0")}`;
}

/** Seconds in words. */
export function duration(seconds) {
  if (seconds < 90) return `${Number(seconds.toPrecision(3))} s`;
  return `${Number((seconds / 60).toPrecision(2))} min`;
}

/** "1 face", "3 faces". */
export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** Local time as ISO 8601 with its distance from UTC: 2026-03-01T14:05:09+01:00. */
export function isoTime(date) {
  const minutes = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + 60_000 * minutes).toISOString().slice(0, 19);
  const two = (value) => String(Math.floor(Math.abs(value))).padStart(2, "0");
  return `${local}${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
}
