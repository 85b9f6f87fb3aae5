// Takes one file through the server: at most two uploads at once, patience when it is busy.
import { ApiError, deleteJob, fetchJob, sendFile } from "./api.js";

const AT_ONCE = 2;
const POLL_MS = 400;
const LOST_POLLS = 5;
const SPREAD = 0.5;

const waiting = [];
let running = 0;
const openJobs = new Set();

/** Waits for a turn; whoever had it before hands it on. */
async function slot(signal) {
  if (running < AT_ONCE) {
    running += 1;
    return;
  }
  await new Promise((resolve, reject) => {
    const turn = { resolve };
    waiting.push(turn);
    signal.addEventListener("abort", () => {
      const place = waiting.indexOf(turn);
      if (place < 0) return;
      waiting.splice(place, 1);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}

function release() {
  const next = waiting.shift();
  if (next) next.resolve();
  else running -= 1;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(new DOMException("cancelled", "AbortError"));
      },
      { once: true },
    );
  });
}

/** Sends; while the server is busy others have their turn, then it is tried again. */
async function sendPatiently(file, asked, isJob, signal, onStage) {
  for (;;) {
    let delay;
    onStage({ stage: "waiting" });
    await slot(signal);
    try {
      onStage({ stage: "uploading", done: 0, total: file.size });
      return await sendFile(file, asked, {
        isJob,
        signal,
        onProgress: (done, total) =>
          onStage({
            stage: done < total ? "uploading" : isJob ? "queued" : "scoring",
            done,
            total,
          }),
      });
    } catch (error) {
      if (!(error instanceof ApiError) || error.retryAfter === null) throw error;
      delay = error.retryAfter;
    } finally {
      release();
    }
    const spread = 1 + SPREAD * Math.random(); // or all who were refused come back together
    for (let left = Math.ceil(delay * spread); left > 0; left -= 1) {
      onStage({ stage: "busy", seconds: left });
      await pause(1000, signal);
    }
  }
}

async function follow(id, signal, onStage) {
  let lost = 0;
  for (;;) {
    let job;
    try {
      job = await fetchJob(id);
      lost = 0;
    } catch (error) {
      lost += 1;
      if (error.status !== 0 || lost > LOST_POLLS) throw error;
    }
    if (job?.state === "done") return job;
    if (job?.state === "failed")
      throw new ApiError(job.error ?? "The server could not finish this file.", 422);
    if (job?.state === "cancelled") throw new ApiError("The server cancelled this job.", 410);
    if (job)
      onStage({
        stage: job.state === "queued" ? "queued" : job.stage,
        done: job.done,
        total: job.total,
      });
    await pause(POLL_MS, signal);
  }
}

async function checkAsJob(file, asked, signal, onStage) {
  const { id } = (await sendPatiently(file, asked, true, signal, onStage)).job;
  openJobs.add(id);
  try {
    return await follow(id, signal, onStage);
  } finally {
    openJobs.delete(id);
    deleteJob(id); // cancelled, or finished and fetched: the server need not keep it
  }
}

/**
 * Has a file checked.
 *
 * @param {File} file
 * @param {"image"|"video"} kind what the file seems to be; the server decides
 * @param {object} asked models, operatingPoint, explain, stability, frames, dense
 * @param {AbortSignal} signal cancels the upload or the job
 * @param {(state: object) => void} onStage told of waiting, uploading, busy, queued, reading, scoring, explaining
 * @returns {Promise<{kind: string, image: object|null, video: object|null, results: object[]}>}
 */
export async function check(file, kind, asked, signal, onStage) {
  if (kind === "video") return checkAsJob(file, asked, signal, onStage);
  try {
    return await sendPatiently(file, asked, false, signal, onStage);
  } catch (error) {
    if (error.status !== 415 || !error.message.includes("/jobs")) throw error;
    return checkAsJob(file, asked, signal, onStage); // a video without a video's name
  }
}

// A job whose page is gone would run for nobody.
addEventListener("pagehide", (event) => {
  if (!event.persisted) openJobs.forEach(deleteJob);
});
