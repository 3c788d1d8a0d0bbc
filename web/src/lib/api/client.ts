// Talks to the API: one function to read, one to tell. What goes wrong is a Problem with a sentence for people.
import { chosen } from "../account.svelte";
import { session } from "../session.svelte";

export type QueryValue = string | number | boolean | null | undefined | readonly (string | number)[];
export type Query = Record<string, QueryValue>;

const BASE = "/api/v1";
/** What belongs to no account. */
const WITHOUT_ACCOUNT = new Set(["ping", "version", "identity", "accounts", "health", "collectors", "runs"]);

/** Why a request was not answered. Status 0: the server could not be reached. */
export class Problem extends Error {
  override readonly name = "Problem";

  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
  ) {
    super(detail || title);
  }

  /** Whether the same request may go well a little later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

/** Asks whether the server knows a token, before it is used; throws the Problem if not. */
export function check(token: string): Promise<unknown> {
  return send("identity", {}, { method: "GET" }, token);
}

/** So long a question that is asked twice is sent once: the parts of a page ask in the same moment. */
const SAME_MOMENT_MS = 50;
const asked = new Map<string, { at: number; answer: Promise<unknown> }>();

/** Read; `path` is below /api/v1, such as "trades". The account that is looked at is added where it is not named. */
export function get<T>(path: string, query: Query = {}): Promise<T> {
  const question = `${session.token ?? ""} ${address(path, query)}`;
  const now = performance.now();
  const before = asked.get(question);
  if (before !== undefined && now - before.at < SAME_MOMENT_MS) return before.answer as Promise<T>;
  const answer = send<T>(path, query, { method: "GET" });
  const entry = { at: now, answer };
  asked.set(question, entry);
  const forget = (): void => {
    if (asked.get(question) === entry) asked.delete(question);
  };
  answer.then(forget, forget);
  return answer;
}

/** From now on every question is sent: what was answered before may be older than what must be known. */
export function forgetAnswers(): void {
  asked.clear();
}

/** Tell; needs the scope `control`. With a `signal` the answer can be done without: then it throws an AbortError. */
export function post<T>(path: string, body?: unknown, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return send<T>(path, query, {
    method: "POST",
    signal,
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
  }).finally(forgetAnswers);
}

function address(path: string, query: Query): string {
  const name = path.replace(/^\/+/, "");
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) search.append(key, String(one));
  }
  if (!("account" in query) && !WITHOUT_ACCOUNT.has(name) && chosen.id !== null) search.set("account", chosen.id);
  const text = search.toString();
  return `${BASE}/${name}${text ? `?${text}` : ""}`;
}

// Everything reactive is read before the first await, so that a resource depends on it.
async function send<T>(path: string, query: Query, init: RequestInit, token = session.token): Promise<T> {
  const url = address(path, query);
  const headers = new Headers(init.headers);
  headers.set("Accept", "application/json");
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(url, { ...init, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    const heals = init.method === "GET" ? " The page tries again by itself." : "";
    throw new Problem(0, "No connection", `The server does not answer.${heals}`);
  }
  if (response.ok) return await answerOf<T>(response);
  const problem = await problemOf(response);
  if (problem.status === 401 && session.token === token) session.refuse();
  throw problem;
}

async function answerOf<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "No whole answer", "The answer of the server was cut off.");
  }
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = new Problem(response.status, response.statusText || "Error", `The server answered ${response.status}.`);
  if (!(response.headers.get("Content-Type") ?? "").includes("json")) return fallback;
  try {
    const { title, detail } = (await response.json()) as { title?: string; detail?: string };
    return new Problem(response.status, title ?? fallback.title, typeof detail === "string" ? detail : fallback.detail);
  } catch {
    return fallback;
  }
}
