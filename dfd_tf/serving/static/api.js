// The server's interface, version 1. Every failure is an ApiError whose message can be shown.

const BASE = "/api/v1";

export class ApiError extends Error {
  /** status 0: the server was not reached. retryAfter: seconds, where it asks to come back. */
  constructor(message, status = 0, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const UNREACHABLE = "The server could not be reached. Is it still running?";

function failure(status, body, retryAfter) {
  const message = typeof body?.error === "string" ? body.error : `The server answered ${status}.`;
  const seconds = status === 503 || status === 429 ? Number(retryAfter) || 5 : null;
  return new ApiError(message, status, seconds);
}

async function request(method, path) {
  let response;
  try {
    response = await fetch(BASE + path, { method, headers: { Accept: "application/json" } });
  } catch {
    throw new ApiError(UNREACHABLE);
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) {
    throw failure(response.status, body, response.headers.get("Retry-After"));
  }
  return body;
}

/** The loaded runs, their operating points and the limits. */
export const fetchModels = () => request("GET", "/models");

/** State of a job. */
export const fetchJob = async (id) => (await request("GET", `/jobs/${encodeURIComponent(id)}`)).job;

/** Cancels a job, or forgets a finished one; also while the page is being left. */
export function deleteJob(id) {
  return fetch(`${BASE}/jobs/${encodeURIComponent(id)}`, {
    method: "DELETE",
    keepalive: true,
  }).catch(() => null);
}

/** What `predict` and `jobs` are asked, as a query. */
function query({ models, operatingPoint, explain, stability, frames, dense }, isJob) {
  const values = new URLSearchParams();
  for (const model of models) values.append("model", model);
  if (operatingPoint) values.set("operating_point", operatingPoint);
  if (explain) values.set("explain", "true");
  if (stability) values.set("stability", "true");
  if (isJob && dense) values.set("dense", "true");
  if (isJob && frames && !dense) values.set("frames", String(frames));
  return values.toString();
}

/**
 * Sends one file. XMLHttpRequest, because fetch does not tell how much has been sent.
 * Resolves to the parsed answer; rejects with ApiError, or AbortError once `signal` aborts.
 */
export function sendFile(file, asked, { isJob, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    const aborted = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal.aborted) return aborted();
    sending.open("POST", `${BASE}/${isJob ? "jobs" : "predict"}?${query(asked, isJob)}`);
    sending.responseType = "text";
    sending.setRequestHeader("Accept", "application/json");
    sending.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    sending.onerror = () => reject(new ApiError(UNREACHABLE));
    sending.onabort = aborted;
    sending.onload = () => {
      let body = null;
      try {
        body = JSON.parse(sending.responseText);
      } catch {
        // no JSON: the status says enough
      }
      if (sending.status >= 200 && sending.status < 300 && body !== null) resolve(body);
      else reject(failure(sending.status, body, sending.getResponseHeader("Retry-After")));
    };
    signal.addEventListener("abort", () => sending.abort(), { once: true });
    sending.setRequestHeader("Content-Type", "application/octet-stream");
    sending.send(file); // the bytes alone: the server has no use for the file's name
    return undefined;
  });
}
