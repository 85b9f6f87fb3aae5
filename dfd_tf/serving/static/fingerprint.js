// SHA-256 of a file, where the browser has it (https or localhost).

/** Hex digest, or null. */
export async function sha256(file) {
  if (!globalThis.crypto?.subtle) return null;
  try {
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  } catch {
    return null; // too large for this browser's memory
  }
}
