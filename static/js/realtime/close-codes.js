// @ts-check

/** Close codes that need more than another attempt (1001, 1006, 1012 and 4408 do not). */
export const CloseCode = Object.freeze({
  abnormal: 1006,
  badFrame: 4400,
  unauthenticated: 4401,
  suspended: 4403,
  frameTooLarge: 4413,
  tooMany: 4429,
});

/** What this page sent was wrong: sending it again soon would be wrong again. @param {number} code */
export function isOurFault(code) {
  return code === CloseCode.badFrame || code === CloseCode.frameTooLarge;
}
