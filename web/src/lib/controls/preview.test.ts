import { beforeEach, expect, test, vi } from "vitest";

import { Problem } from "../api/client";
import type { CommandPreview } from "../api/types";
import { Preview } from "./preview.svelte";

vi.mock("../account.svelte", () => ({ chosen: { id: null } })); // it reads the address bar

interface Asked {
  answer: (title: string) => void;
  fail: (problem: Problem) => void;
}

let asked: Asked[];
let until: number;
let preview: Preview;

beforeEach(() => {
  asked = [];
  until = 60_000;
  preview = new Preview(
    () =>
      new Promise<CommandPreview>((resolve, reject) => {
        asked.push({ answer: (title) => resolve({ title } as CommandPreview), fail: reject });
      }),
    () => until,
  );
});

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

test("what is shown stays until the next answer, which tells up to which moment it knows", async () => {
  void preview.refresh();
  asked[0]?.answer("sells for -1.55");
  await settled();
  expect(preview.answer?.title).toBe("sells for -1.55");
  expect(preview.untilMs).toBe(60_000);
  until = 120_000;
  void preview.refresh();
  until = 180_000;
  expect(preview.answer?.title).toBe("sells for -1.55");
  asked[1]?.answer("sells for -23.40");
  await settled();
  expect(preview.answer?.title).toBe("sells for -23.40");
  expect(preview.untilMs).toBe(120_000); // what came while it was on its way it may not know
});

test("an answer that is late does not replace a newer one", async () => {
  void preview.refresh();
  void preview.refresh();
  asked[1]?.answer("the newer");
  await settled();
  asked[0]?.answer("the older");
  await settled();
  expect(preview.answer?.title).toBe("the newer");
});

test("after a gap nothing can be confirmed until an answer comes that was asked for since", async () => {
  void preview.refresh();
  asked[0]?.answer("before the gap");
  await settled();
  void preview.refresh();
  void preview.renew();
  expect(preview.answer).toBeUndefined();
  asked[1]?.answer("asked for before the gap");
  await settled();
  expect(preview.answer).toBeUndefined();
  asked[2]?.answer("after the gap");
  await settled();
  expect(preview.answer?.title).toBe("after the gap");
});

test("what is not waited for changes nothing, whether it comes or fails", async () => {
  void preview.refresh();
  asked[0]?.answer("sells for -1.55");
  await settled();
  void preview.refresh();
  void preview.refresh();
  preview.stop();
  asked[1]?.answer("sells for -23.40");
  asked[2]?.fail(new Problem(409, "Conflict", "Nothing of it is held."));
  await settled();
  expect(preview.answer?.title).toBe("sells for -1.55");
  expect(preview.problem).toBeUndefined();
});

test("why there is no answer is told, until there is one", async () => {
  void preview.refresh();
  asked[0]?.fail(new Problem(409, "Conflict", "Nothing of it is held."));
  await settled();
  expect(preview.problem?.detail).toBe("Nothing of it is held.");
  void preview.refresh();
  asked[1]?.answer("sells");
  await settled();
  expect(preview.problem).toBeUndefined();
});
