// Where the person is: the part of the address after `#`.
// Rules: `#/SCREEN/PART/…?NAME=VALUE`. Parsing and writing are pure and undo each other. Going somewhere is a link or
// `go`, so that Back works; `swap` changes what is looked at without a step for Back.

import { type ReadonlySignal, signal } from "@preact/signals";

export interface Place {
  readonly screen: string;
  readonly parts: readonly string[];
  readonly params: Readonly<Record<string, string>>;
}

export const HOME = "now";

export function parsePlace(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const [screen, ...parts] = path.split("/").filter(Boolean).map(decoded);
  return { screen: screen ?? HOME, parts, params: Object.fromEntries(new URLSearchParams(query)) };
}

/** The link to a place: `link(["run", id], {attempt})`. */
export function link(
  path: readonly string[],
  params: Readonly<Record<string, string | null | undefined>> = {},
): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value) query.set(name, value);
  const text = query.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

function decoded(piece: string): string {
  try {
    return decodeURIComponent(piece);
  } catch {
    return piece;
  }
}

const here = signal<Place>(parsePlace(""));

export const place: ReadonlySignal<Place> = here;

export function startRouter(): () => void {
  const look = () => {
    here.value = parsePlace(location.hash);
  };
  look();
  addEventListener("hashchange", look);
  return () => removeEventListener("hashchange", look);
}

export function go(path: readonly string[], params: Readonly<Record<string, string | null | undefined>> = {}): void {
  location.hash = link(path, params);
}

export function swap(path: readonly string[], params: Readonly<Record<string, string | null | undefined>> = {}): void {
  const hash = link(path, params);
  history.replaceState(null, "", hash);
  here.value = parsePlace(hash);
}
