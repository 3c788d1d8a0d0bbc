/** Whether words of a scale have room there. Pure. */

/** Of a letter, in heights of letters. */
export const LETTER = 0.62;
/** So near to a tag, in heights of letters, a figure of the scale would be covered in part. */
const TAG = 1.5;

/** Whether words around `x` are cut by neither end of an axis of this width; `size` is the height of letters. */
export function whole(words: string, x: number, width: number, size: number): boolean {
  const half = (words.length * LETTER * size) / 2;
  return x >= half && x <= width - half;
}

/** Whether a figure at the height `y` stands clear of the tags on its scale. */
export function clear(y: number, tags: readonly number[], size: number): boolean {
  return tags.every((tag) => Math.abs(tag - y) >= TAG * size);
}
