// What was dropped: single files, and all files inside dropped folders.

const whole = (call) => new Promise((resolve, reject) => call(resolve, reject));

/** All entries of a folder; a reader hands them out in parts. */
async function childrenOf(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const part = await whole((done, failed) => reader.readEntries(done, failed));
    if (part.length === 0) return found;
    found.push(...part);
  }
}

async function walk(entry, files, unreadable) {
  try {
    if (entry.isFile) files.push(await whole((done, failed) => entry.file(done, failed)));
    else
      for (const child of await childrenOf(entry))
        if (!child.name.startsWith(".")) await walk(child, files, unreadable);
  } catch {
    unreadable.push(entry.name);
  }
}

/**
 * Returns the files of a drop. Call it while the event is handled: later there is nothing in it.
 *
 * @param {DataTransfer} dropped
 * @returns {Promise<{files: File[], unreadable: string[]}>}
 */
export async function droppedFiles(dropped) {
  const items = [...dropped.items].filter((item) => item.kind === "file");
  const roots = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const files = [];
  const unreadable = [];
  for (const root of roots) {
    if (root instanceof File) files.push(root);
    else if (root) await walk(root, files, unreadable);
  }
  return { files, unreadable };
}
