// Where the person is: the page, its parameters and its query. Every view and filter is a link. Reading one value
// of the query depends on that value only, so that opening a detail does not fetch the whole page anew.
import { SvelteMap } from "svelte/reactivity";

export type PageName = "trading" | "strategies" | "market" | "research" | "system" | "symbol" | "sign-in";
export type RouteName = PageName | "not-found";
export type Change = string | number | boolean | readonly string[] | null | undefined;
export type Changes = Record<string, Change>;

export const PAGES: readonly PageName[] = ["trading", "strategies", "market", "research", "system"];

const values = new SvelteMap<string, readonly string[]>();

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function parse(path: string): { name: RouteName; params: Record<string, string> } {
  const [first = "", ...rest] = path.split("/").filter(Boolean).map(decoded);
  if (first === "") return { name: "trading", params: {} };
  // A coin alone is one too: the page finds what it is quoted in.
  if (first === "symbol" && (rest.length === 1 || rest.length === 2)) return { name: "symbol", params: { symbol: rest.join("/") } };
  if (rest.length === 0 && (PAGES.includes(first as PageName) || first === "sign-in"))
    return { name: first as PageName, params: {} };
  return { name: "not-found", params: {} };
}

class Route {
  path = $state(location.pathname);
  #parsed = $derived(parse(this.path));
  readonly name: RouteName = $derived(this.#parsed.name);
  readonly params: Readonly<Record<string, string>> = $derived(this.#parsed.params);
  /** The first value of each name of the query. */
  readonly query: Readonly<Record<string, string | undefined>> = new Proxy(
    {},
    { get: (_, name) => (typeof name === "string" ? values.get(name)?.[0] : undefined) },
  );

  /** All values of a name of the query; the same array while nothing changes. */
  all(name: string): readonly string[] {
    return values.get(name) ?? NONE;
  }
}

const NONE: readonly string[] = [];

export const route = new Route();

let prepare: (name: RouteName) => Promise<unknown> | undefined = () => undefined;
let turn = 0;

/** What must be there before a page is entered; undefined where it is. Until then the page before stays as it is. */
export function prepareWith(needed: (name: RouteName) => Promise<unknown> | undefined): void {
  prepare = needed;
}

/** Takes over what the address bar says, once the page that it names can be shown. */
function read(): void {
  const name = parse(location.pathname).name;
  const waiting = name === route.name ? undefined : prepare(name);
  const mine = ++turn;
  if (!waiting) take();
  else
    void waiting.catch(() => undefined).then(() => {
      if (mine === turn) take();
    });
}

function take(): void {
  const search = new URLSearchParams(location.search);
  for (const name of [...values.keys()]) if (!search.has(name)) values.delete(name);
  for (const name of new Set(search.keys())) {
    const next = search.getAll(name);
    const old = values.get(name);
    if (!old || old.length !== next.length || old.some((value, index) => value !== next[index])) values.set(name, next);
  }
  route.path = location.pathname;
}

read();

function apply(search: URLSearchParams, changes: Changes): URLSearchParams {
  for (const [name, change] of Object.entries(changes)) {
    search.delete(name);
    if (change === null || change === undefined || change === "" || change === false) continue;
    for (const value of Array.isArray(change) ? change : [String(change)]) search.append(name, String(value));
  }
  return search;
}

function address(path: string, search: URLSearchParams): string {
  const text = search.toString().replaceAll("%3A", ":").replaceAll("%2F", "/").replaceAll("%7C", "|");
  return text ? `${path}?${text}` : path;
}

/** The address of a page, under the account that is looked at. */
export function link(path: string, query: Changes = {}): string {
  const account = values.get("account")?.[0];
  return address(path, apply(new URLSearchParams(), { ...(account ? { account } : {}), ...query }));
}

/** The address of a symbol's page. */
export function symbolLink(symbol: string, query: Changes = {}): string {
  return link(`/symbol/${symbol.split("/").map(encodeURIComponent).join("/")}`, query);
}

/** Open a page. */
export function go(path: string, query: Changes = {}, options: { replace?: boolean } = {}): void {
  visit(link(path, query), options);
}

/** Change the query of this page; null removes a name. */
export function setQuery(changes: Changes, options: { replace?: boolean } = {}): void {
  visit(address(location.pathname, apply(new URLSearchParams(location.search), changes)), { ...options, stay: true });
}

/** Go to an address of this site. */
export function visit(href: string, options: { replace?: boolean; stay?: boolean } = {}): void {
  const there = location.pathname + location.search;
  if (href !== there) history[options.replace ? "replaceState" : "pushState"](null, "", href);
  if (!options.stay) scrollTo(0, 0);
  read();
}

/** Listens to the back button and to clicks on links of this site; returns how to stop. */
export function listen(): () => void {
  const click = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return;
    const anchor = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!(anchor instanceof HTMLAnchorElement) || anchor.target || anchor.hasAttribute("download")) return;
    const url = new URL(anchor.href);
    if (url.origin !== location.origin || url.pathname.startsWith("/api/")) return;
    if (url.hash && url.pathname === location.pathname) return;
    event.preventDefault();
    visit(url.pathname + url.search);
  };
  addEventListener("popstate", read);
  document.addEventListener("click", click);
  return () => {
    removeEventListener("popstate", read);
    document.removeEventListener("click", click);
  };
}
