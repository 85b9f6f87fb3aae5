// Tabs after the ARIA pattern: arrow keys, Home and End move and select.
import { element, freshId } from "./dom.js";

/**
 * @param {string} label what the tabs choose between
 * @param {{label: (string|Node)[]}[]} tabs
 * @param {(index: number) => void} onSelect told of every change, not of the first selection
 * @returns {{list: HTMLElement, panel: HTMLElement, select: (index: number) => void}}
 */
export function makeTabs(label, tabs, onSelect) {
  const panel = element("div", {
    role: "tabpanel",
    id: freshId("panel"),
    tabindex: "0",
    class: "tabpanel",
  });
  const buttons = tabs.map((tab, index) =>
    element(
      "button",
      {
        type: "button",
        role: "tab",
        id: freshId("tab"),
        class: "tab",
        "aria-controls": panel.id,
        onclick: () => select(index),
      },
      tab.label,
    ),
  );
  const list = element(
    "div",
    { role: "tablist", "aria-label": label, class: "tablist", onkeydown: onKey },
    buttons,
  );
  let selected = 0;

  function mark(index) {
    selected = index;
    buttons.forEach((one, place) => {
      one.setAttribute("aria-selected", String(place === index));
      one.tabIndex = place === index ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", buttons[index].id);
  }

  function select(index) {
    if (index === selected) return;
    mark(index);
    onSelect(index);
  }

  function onKey(event) {
    const last = buttons.length - 1;
    const target = {
      ArrowRight: selected === last ? 0 : selected + 1,
      ArrowLeft: selected === 0 ? last : selected - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    select(target);
    buttons[target].focus();
  }

  mark(0);
  return { list, panel, select };
}
