// What cards hold, as files: one card as JSON, or all of them as JSON or CSV.
import { download } from "./dom.js";
import { fingerprint } from "./fingerprint.js";
import { isoTime } from "./format.js";

const COLUMNS = [
  ["file", (row) => row.file.name],
  ["bytes", (row) => row.file.bytes],
  ["sha256", (row) => row.file.sha256],
  ["checked", (row) => row.checked],
  ["kind", (row) => row.kind],
  ["model_name", (_, result) => result?.model_name],
  ["model", (_, result) => result?.model],
  ["operating_point", (_, result) => result?.operating_point],
  ["verdict", (_, result) => result?.verdict],
  ["reason", (_, result) => result?.reason],
  ["score", (_, result) => result?.score],
  ["threshold", (_, result) => result?.threshold],
  ["probability", (_, result) => result?.probability],
  ["p_value", (_, result) => result?.p_value],
  ["p_value_fake", (_, result) => result?.p_value_fake],
  ["error", (row) => row.error],
];

/** Everything a card holds, without what the server needed to keep track of a job. */
async function contentOf({ file, asked, answer, when, error, models }) {
  const digest = await fingerprint(file, answer);
  const content = {
    checked: isoTime(when),
    file: {
      name: file.name,
      bytes: file.size,
      type: file.type,
      sha256: digest.value,
      sha256_by: digest.by,
    },
    asked: {
      models: asked.models,
      operating_point: asked.operatingPoint,
      stability: asked.stability,
      every_frame: asked.dense,
    },
    error: error ?? null,
  };
  if (!answer) return { ...content, kind: null, results: [] };
  const { kind, image = null, video = null, results } = answer;
  const calibrations = results.map((one) => [
    one.model_name,
    models.get(one.model_name)?.calibration ?? null,
  ]);
  return { ...content, kind, image, video, calibrations: Object.fromEntries(calibrations), results };
}

const header = (version) => ({ program: "dfd-tf", version, note: "An estimate, not proof." });

function save(text, type, name) {
  download(new Blob([text], { type }), name);
}

/** Offers one card's content as JSON. */
export async function exportJson(card, version) {
  const content = { ...header(version), ...(await contentOf(card)) };
  const { name } = card.file;
  const stem = name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "result";
  save(JSON.stringify(content, null, 1), "application/json", `${stem}.dfd-tf.json`);
}

/** Offers the content of all cards as JSON, without the pictures of the explanations. */
export async function exportAllJson(cards, version) {
  const files = [];
  for (const card of cards) {
    const content = await contentOf(card);
    const results = content.results.map(({ explanations: _, ...rest }) => rest);
    files.push({ ...content, results });
  }
  const text = JSON.stringify({ ...header(version), files }, null, 1);
  save(text, "application/json", "dfd-tf-results.json");
}

/** A cell of a table; text that a spreadsheet would take for a formula is made plain text. */
function cell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Offers the results of all cards as a table, one row a file and model. */
export async function exportAllCsv(cards) {
  const lines = [COLUMNS.map(([name]) => name)];
  for (const card of cards) {
    const content = await contentOf(card);
    const results = content.results.length ? content.results : [null];
    for (const result of results) lines.push(COLUMNS.map(([, read]) => cell(read(content, result))));
  }
  const text = lines.map((line) => `${line.join(",")}\r\n`).join("");
  save(`\ufeff${text}`, "text/csv;charset=utf-8", "dfd-tf-results.csv");
}
