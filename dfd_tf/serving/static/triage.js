// Many files: how far all of them are, only those of a verdict, all results in one file.
import { button, element } from "./dom.js";
import { exportAllCsv, exportAllJson } from "./export.js";
import { GROUPS } from "./file_verdict.js";
import { icon } from "./icons.js";

const MORE_THAN = 3;
const COLLAPSE_MORE_THAN = 6;
const LEFT_OPEN = 3;

/**
 * Keeps the strip above the results.
 *
 * @param {HTMLElement} place
 * @param {HTMLElement} list of the cards
 * @param {() => string} version of the server
 * @returns {(cards: object[]) => void} to be told whenever a card came, went or changed
 */
export function makeTriage(place, list, version) {
  let cards = [];
  let filter = null;
  const words = element("p", { class: "triage-words" });
  const filters = element("div", { class: "filters", role: "group", "aria-label": "Show only" });
  const results = () => cards.map((card) => card.content()).filter(Boolean);
  const cancel = button(
    "Cancel all",
    () => cards.filter((card) => card.group() === null).forEach((card) => card.cancel()),
    "button quiet",
    icon("close"),
  );
  const exports = element(
    "div",
    { class: "actions" },
    button("All as JSON", () => exportAllJson(results(), version()), "button quiet", icon("download")),
    button("All as CSV", () => exportAllCsv(results()), "button quiet", icon("download")),
    cancel,
  );
  place.replaceChildren(words, filters, exports);

  /** The buttons stay the same elements, so that the focus stays where it is. */
  const choices = new Map(
    [[null, "all"], ...GROUPS].map(([group, name]) => {
      const count = element("span", { class: "number" });
      const choice = element(
        "button",
        {
          type: "button",
          class: "filter",
          "data-group": group ?? "all",
          onclick: () => {
            filter = group;
            draw();
          },
        },
        element("span", null, name),
        " ",
        count,
      );
      return [group, { choice, count }];
    }),
  );
  filters.append(...[...choices.values()].map((one) => one.choice));

  function draw() {
    const groups = cards.map((card) => card.group());
    const done = groups.filter((group) => group !== null).length;
    const number = (group) => groups.filter((one) => one === group).length;
    if (filter !== null && number(filter) === 0) filter = null;
    const parts = GROUPS.filter(([group]) => number(group) > 0).map(
      ([group, name]) => `${number(group)} ${name}`,
    );
    words.textContent = `${done} of ${cards.length} done${parts.length ? `: ${parts.join(", ")}` : ""}`;
    for (const [group, { choice, count }] of choices) {
      const total = group === null ? cards.length : number(group);
      choice.hidden = total === 0;
      choice.setAttribute("aria-pressed", String(group === filter));
      count.textContent = String(total);
    }
    cancel.hidden = done === cards.length;
    place.hidden = cards.length <= MORE_THAN;
    if (place.hidden) filter = null;
    cards.forEach((card, index) => {
      card.node.hidden = filter !== null && groups[index] !== filter;
    });
  }

  function collapse() {
    const isMany = cards.length > COLLAPSE_MORE_THAN;
    list.classList.toggle("many", isMany);
    const order = [...list.children];
    for (const card of cards)
      card.collapse(isMany ? order.indexOf(card.node) >= LEFT_OPEN : null);
  }

  return (now) => {
    cards = now;
    draw();
    collapse();
  };
}
