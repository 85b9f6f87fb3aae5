// The answer of the server, laid out: the media, the verdict, and what it rests on.
import { element } from "./dom.js";
import { comparisonTable, disagreementNote, modelTab } from "./comparison.js";
import { duration, plural } from "./format.js";
import { facesPanel } from "./faces.js";
import { imageStage, videoStage } from "./stage.js";
import { personsPanel } from "./persons.js";
import { makeTabs } from "./tabs.js";
import { makeTimeline } from "./timeline.js";
import { verdictPanel } from "./verdict.js";
import { faceName, personName, seesWholePicture, wholePictureNote } from "./wording.js";

function imageEvidence(result, model) {
  if (result.faces.length === 0) return { node: null, focus: () => null };
  const panel = facesPanel(result, result.explanations, (index) => faceName(model, index));
  const hidden = result.faces.length - result.explanations.length;
  const heading =
    !seesWholePicture(model) && element("h4", null, plural(result.faces.length, "face"));
  const left =
    hidden > 0 &&
    element(
      "p",
      { class: "soft small" },
      `The ${result.explanations.length} highest-scored are shown.`,
    );
  return {
    node: element("div", { class: "evidence" }, heading, left, panel.node),
    focus: panel.focus,
  };
}

function videoEvidence(result, model, stage) {
  const facts = result.video;
  if (!facts) return { node: null };
  const looked = [
    `Looked at ${facts.sampling ?? plural(facts.frames.length, "frame")} of ${facts.num_frames}`,
    facts.duration_seconds ? `, ${duration(facts.duration_seconds)} long` : "",
    `. The score of a person is the ${aggregation(facts.aggregation)} over the frames (${facts.aggregation_reason}).`,
  ];
  return {
    node: element(
      "div",
      { class: "evidence" },
      makeTimeline(result, stage.video, (person) => personName(model, person)),
      element("p", { class: "soft small sampling" }, looked.join("")),
      personsPanel(result, model),
    ),
  };
}

/** How the scores of a person's faces become one, in words. */
export function aggregation(name) {
  return { mean: "mean", top_k: "mean of the highest quarter", max: "highest score" }[name] ?? name;
}

/**
 * @param {object} answer kind, results, image or video
 * @param {{address: string, name: string}} file
 * @param {Map<string, object>} models by name
 * @param {object|null} oldStage the stage of an earlier answer about the same file
 */
export function layOut(answer, file, models, oldStage = null) {
  const views = answer.results.map(() => null);
  let current = 0;
  const isVideo = answer.kind === "video";
  const stage =
    oldStage ??
    (isVideo
      ? videoStage(file.address, file.name)
      : imageStage(file.address, file.name, (index) => views[current].evidence.focus(index)));
  const verdictPlace = element("div", { class: "verdict-place" });
  const evidencePlace = element("div", { class: "evidence-place" });

  function view(index) {
    const result = answer.results[index];
    const model = models.get(result.model_name);
    views[index] ??= {
      verdict: verdictPanel(result, model),
      evidence: isVideo ? videoEvidence(result, model, stage) : imageEvidence(result, model),
    };
    return views[index];
  }

  function show(index) {
    current = index;
    const result = answer.results[index];
    const model = models.get(result.model_name);
    verdictPlace.replaceChildren(view(index).verdict);
    evidencePlace.replaceChildren(...[views[index].evidence.node].filter(Boolean));
    stage.showFaces(seesWholePicture(model) ? [] : result.faces, result.video?.frames ?? []);
  }

  const noteWords = wholePictureNote(answer.results, models);
  const unsought = noteWords && element("p", { class: "note small" }, noteWords);

  // Faces go under their picture; a timeline needs the width.
  const body = isVideo
    ? [element("div", { class: "split" }, stage.node, verdictPlace), evidencePlace]
    : [element("div", { class: "split" }, stage.node, verdictPlace, evidencePlace)];
  if (answer.results.length === 1) {
    show(0);
    return {
      node: element("div", { class: "answer" }, unsought, body),
      stage,
      expand: () => {},
      fold: () => {},
    };
  }
  const tabs = makeTabs(
    "Models",
    answer.results.map((result) => ({ label: modelTab(result) })),
    show,
  );
  tabs.panel.append(...body);
  show(0);
  const others = element("div", { class: "print-only" });

  /** Puts the models that are not on show below, for paper. */
  function expand() {
    const hidden = answer.results.map((_, index) => index).filter((index) => index !== current);
    others.replaceChildren(...hidden.flatMap((index) => [
        element("h4", null, answer.results[index].model_name),
        ...[view(index).verdict, view(index).evidence.node].filter(Boolean),
      ]));
  }

  return {
    node: element(
      "div",
      { class: "answer" },
      unsought,
      disagreementNote(answer.results),
      comparisonTable(answer.results, file.name, models),
      element("div", null, tabs.list, tabs.panel, others),
    ),
    stage,
    expand,
    fold: () => others.replaceChildren(),
  };
}
