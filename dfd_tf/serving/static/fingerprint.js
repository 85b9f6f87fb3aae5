// SHA-256 of a file: the server's, over the bytes it judged; else this browser's own.

/**
 * @param {File} file
 * @param {object|null} answer of the server
 * @returns {Promise<{value: string|null, by: string}>} hex digits and who computed them, or why not
 */
export async function fingerprint(file, answer) {
  if (answer?.sha256) return { value: answer.sha256, by: "the server, over the bytes it judged" };
  if (!globalThis.crypto?.subtle)
    return { value: null, by: "browsers compute it on https or localhost only" };
  try {
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    const value = [...new Uint8Array(digest)]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join("");
    return { value, by: "this browser" };
  } catch {
    return { value: null, by: "the file can no longer be read, or is too large for this browser" };
  }
}
