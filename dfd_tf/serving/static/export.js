// Everything a card holds, as a JSON file.
import { download } from "./dom.js";
import { sha256 } from "./fingerprint.js";

/**
 * @param {{file: File, asked: object, answer: object, when: Date}} card
 * @param {string} version of the server
 */
export async function exportJson({ file, asked, answer, when }, version) {
  const content = {
    program: "dfd-tf",
    version,
    checked: when.toISOString(),
    file: { name: file.name, bytes: file.size, type: file.type, sha256: await sha256(file) },
    asked: {
      models: asked.models,
      operating_point: asked.operatingPoint,
      stability: asked.stability,
      every_frame: asked.dense,
    },
    note: "An estimate, not proof.",
    ...answer,
  };
  const name = file.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "result";
  download(
    new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }),
    `${name}.dfd-tf.json`,
  );
}
