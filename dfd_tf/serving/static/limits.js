// What can be said about a file before it is sent.
import { bytes, duration, plural } from "./format.js";

const VIDEO_NAMES = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|flv|wmv|ogv)$/i;

/** Whether a file looks like a video; the server looks at its bytes. */
export function kindOf(file) {
  return file.type.startsWith("video/") || VIDEO_NAMES.test(file.name) ? "video" : "image";
}

export const UNREADABLE =
  "This file can no longer be read: it was changed or moved since it was added, or it is a folder.";

/** Whether a file is still there as it was added. */
export async function isReadable(file) {
  return file.slice(0, 1).arrayBuffer().then(
    () => true,
    () => false,
  );
}

/** Why a file would be refused, or null. */
export function overLimit(file, kind, limits) {
  if (file.size === 0) return "This file is empty.";
  const most = kind === "video" ? limits?.max_video_bytes : limits?.max_image_bytes;
  if (most && file.size > most) {
    return `This ${kind} has ${bytes(file.size)}; this server takes ${kind}s of at most ${bytes(most)}.`;
  }
  return null;
}

/** Why a decoded picture would be refused, or null. */
export function tooManyPixels(width, height, limits) {
  if (!limits?.max_pixels || width * height <= limits.max_pixels) return null;
  const megapixels = (value) => Number((value / 1e6).toPrecision(3));
  return `This image has ${width} × ${height} pixels; this server takes at most ${megapixels(limits.max_pixels)} million.`;
}

/** The limits in one line. */
export function limitsLine(limits) {
  const parts = [];
  if (limits.max_image_bytes) parts.push(`images up to ${bytes(limits.max_image_bytes)}`);
  if (limits.max_video_bytes) {
    const long = limits.max_video_seconds ? ` and ${duration(limits.max_video_seconds)}` : "";
    parts.push(`videos up to ${bytes(limits.max_video_bytes)}${long}`);
  }
  const line = parts.join(", ");
  return (
    line &&
    `${line[0].toUpperCase()}${line.slice(1)}${limits.frames ? `; ${plural(limits.frames, "frame")} of a video are looked at` : ""}.`
  );
}
