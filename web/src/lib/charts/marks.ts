/** Which fills have room for their words. Pure. */

export interface Worded {
  /** Where its middle stands, in pixels. */
  readonly x: number;
  /** Of its words; 0 where it has none. */
  readonly width: number;
  readonly above: boolean;
}

/** Half of a mark, and some air. */
const MARK = 9;

/** Whether each may write its words: no other mark of its side may stand within them. */
export function readable(marks: readonly Worded[]): boolean[] {
  return marks.map(
    (mark, index) =>
      mark.width > 0 &&
      marks.every((other, place) => {
        if (place === index || other.above !== mark.above) return true;
        const apart = Math.abs(other.x - mark.x);
        return apart > mark.width / 2 + MARK && apart > (mark.width + other.width) / 2;
      }),
  );
}
