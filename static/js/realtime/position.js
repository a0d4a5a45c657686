// @ts-check

/** A position is `epoch:offset`; offsets can be compared within one epoch only. @param {string} position */
function parse(position) {
  const colon = position.lastIndexOf(":");
  return { epoch: position.slice(0, colon), offset: Number(position.slice(colon + 1)) };
}

/** Whether `id` is at or below `position` in the same epoch. @param {string} id @param {string | null} position */
export function isCovered(id, position) {
  if (!position) return false;
  const [a, b] = [parse(id), parse(position)];
  return a.epoch === b.epoch && a.offset <= b.offset;
}

/**
 * Where to follow from when two reads stand at two positions. Of different epochs either will do:
 * the server can't go on from one of them, and says so.
 *
 * @param {string | undefined} a
 * @param {string | undefined} b
 */
export function older(a, b) {
  if (!a || !b) return undefined;
  return isCovered(a, b) ? a : b;
}
