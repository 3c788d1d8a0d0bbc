import { expect, test } from "vitest";

import { newIdentifier } from "./identifier";

test("an identifier is 32 hexadecimal digits, and another one each time", () => {
  const made = Array.from({ length: 100 }, () => newIdentifier());
  for (const each of made) expect(each).toMatch(/^[0-9a-f]{32}$/);
  expect(new Set(made).size).toBe(100);
});
