// @ts-check

/**
 * What the connection has to know of the page around it.
 * @typedef {{hidden: () => boolean, online: () => boolean, onChange: (listener: () => void) => void}} Page
 */

/** @type {Page} */
export const alwaysThere = { hidden: () => false, online: () => true, onChange: () => {} };

/** @returns {Page} */
export function browserPage() {
  return {
    hidden: () => document.visibilityState === "hidden",
    online: () => navigator.onLine,
    onChange: (listener) => {
      document.addEventListener("visibilitychange", listener);
      for (const name of ["online", "offline", "pageshow"]) window.addEventListener(name, listener);
    },
  };
}
