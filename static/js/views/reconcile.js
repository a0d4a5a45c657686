// @ts-check

/**
 * Makes the children of `container` show `items`, in order: each item keeps its element for as long as its key stays,
 * and an element that is already in its place is not touched, so focus and selection survive.
 *
 * @template T
 * @param {Element} container
 * @param {T[]} items
 * @param {{key: (item: T) => string, create: (item: T) => HTMLElement, update: (el: HTMLElement, item: T) => void}} how
 */
export function reconcile(container, items, { key, create, update }) {
  const kept = new Set(items.map(key));
  /** @type {Map<string, HTMLElement>} */
  const byKey = new Map();
  for (const child of /** @type {HTMLElement[]} */ ([...container.children])) {
    const childKey = child.dataset.key ?? "";
    if (kept.has(childKey)) byKey.set(childKey, child);
    else child.remove();
  }
  let place = container.firstElementChild;
  for (const item of items) {
    const itemKey = key(item);
    const el = byKey.get(itemKey) ?? create(item);
    el.dataset.key = itemKey;
    update(el, item);
    if (el === place) place = place.nextElementSibling;
    else container.insertBefore(el, place);
  }
}
