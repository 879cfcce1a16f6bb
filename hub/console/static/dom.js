// Making elements. What users wrote only ever becomes text nodes.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a string child is text, `null` is nothing. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Run `work` once things have been quiet for `ms`. */
export function soon(ms, work) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, ms);
  };
}

const text = (value) => (typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value));

/** What a message's body says, whatever its kind: {title, text}. */
export function said(body) {
  if (typeof body !== "object" || body === null) return { title: "", text: text(body) };
  if (body.title === undefined && body.text === undefined) return { title: "", text: JSON.stringify(body) };
  return { title: text(body.title), text: text(body.text) };
}

/** Change an element's text, where it is another one: what did not change is not announced again. */
export const set = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
