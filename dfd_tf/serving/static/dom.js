// Elements built from data: text is always a text node, so no file name can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** Sets attributes; `on…` functions become listeners, false and null leave the attribute out. */
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

/** Makes an HTML element: `element("p", {class: "soft"}, "text", otherElement)`. */
export function element(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an SVG element. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

let count = 0;

/** Returns an id that is not in use, for labels and ARIA. */
export function freshId(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

/** Makes a button. */
export function button(label, onclick, className = "button", icon = null) {
  return element(
    "button",
    { type: "button", class: className, onclick },
    icon,
    element("span", null, label),
  );
}

/** Offers text or a blob as a download. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name, class: "hidden" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
