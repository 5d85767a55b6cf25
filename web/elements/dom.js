/**
 * Making and changing page content.
 *
 * Law of this file: text becomes text nodes and attributes, never markup, so that nothing that anybody wrote can become
 * part of the page; the pages' Content-Security-Policy (Trusted Types) would not let it anyway.
 */

/** @typedef {Node | string | null | undefined | false} Child null, undefined and false are left out */

/**
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Properties `on…`
 *   functions are listeners, `class` and everything else are attributes; true is an empty attribute, false and null none
 */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  setAll(element, properties);
  element.append(...present(children));
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAll(element, properties);
  element.append(...present(children));
  return element;
}

/**
 * @param {Element} element
 * @param {Properties} properties
 */
export function setAll(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name.slice("on".length), value);
    else setAttribute(element, name, value);
  }
}

/**
 * Set or take off an attribute; an unchanged one is not touched.
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/**
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {readonly Child[]} children @returns {(Node | string)[]} */
function present(children) {
  return /** @type {(Node | string)[]} */ (
    children.filter((each) => each !== null && each !== undefined && each !== false)
  );
}

/**
 * @param {Element | ShadowRoot} parent
 * @param {...Child} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...present(children));
}

/** @type {WeakMap<Node, Map<string, Element>>} */
const keyedChildren = new WeakMap();

/**
 * Make a parent's children those of a list, keeping the element of each key: focus, scrolling and transitions survive.
 * @template I
 * @param {Element} parent holds nothing else
 * @param {readonly I[]} items
 * @param {object} how
 * @param {(item: I) => string} how.key
 * @param {(item: I) => Element} how.make
 * @param {(element: any, item: I, index: number) => void} how.update
 */
export function keyed(parent, items, { key, make, update }) {
  const before = keyedChildren.get(parent) ?? new Map();
  /** @type {Map<string, Element>} */
  const after = new Map();
  for (const item of items) after.set(key(item), before.get(key(item)) ?? make(item));
  for (const [name, element] of before) if (!after.has(name)) element.remove();
  keyedChildren.set(parent, after);
  let place = parent.firstElementChild;
  for (const element of after.values()) {
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  items.forEach((item, index) => update(after.get(key(item)), item, index));
}

/**
 * A style sheet for shadow roots, which the Content-Security-Policy allows where it refuses style elements.
 * @param {string} text
 * @returns {CSSStyleSheet}
 */
export function sheet(text) {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  return made;
}

/**
 * An open shadow root with its styles.
 * @param {HTMLElement} host
 * @param {CSSStyleSheet[]} sheets
 */
export function shadow(host, sheets) {
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = sheets;
  return root;
}

/**
 * Run work once before the next frame is drawn, however often it is asked for.
 * @param {() => void} work
 * @returns {() => void} asks for it
 */
export function eachFrame(work) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    // A hidden page draws no frames, and its title and announcements are read all the same.
    const soon = document.hidden ? (/** @type {() => void} */ each) => setTimeout(each, 100) : requestAnimationFrame;
    soon(() => {
      isAsked = false;
      work();
    });
  };
}

/**
 * Register an element, once.
 * @param {string} name
 * @param {CustomElementConstructor} element
 */
export function define(name, element) {
  if (customElements.get(name) === undefined) customElements.define(name, element);
}

/**
 * Tell the page of something that a user did in an element.
 * @param {HTMLElement} element
 * @param {string} name
 * @param {any} [detail]
 */
export function tell(element, name, detail) {
  element.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
}
