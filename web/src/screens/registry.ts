// The screens, in the order of the navigation. What does not exist is not listed, and so neither shown nor reachable.
// A screen is loaded when it is first gone to.

import type { ComponentType } from "preact";
import type { Place } from "../shell/router.ts";

export interface ScreenProps {
  readonly place: Place;
}

export type Screen = ComponentType<ScreenProps>;

export interface Entry {
  /** The first part of the address. */
  readonly name: string;
  readonly title: string;
  /** The letter after `g`. */
  readonly key: string;
  readonly load: () => Promise<{ readonly default: Screen }>;
}

export const SCREENS: readonly Entry[] = [
  { name: "now", title: "Now", key: "n", load: () => import("./now/Now.tsx") },
  { name: "inbox", title: "Inbox", key: "i", load: () => import("./inbox/Inbox.tsx") },
  { name: "fleet", title: "Fleet", key: "f", load: () => import("./fleet/Fleet.tsx") },
  { name: "run", title: "Runs", key: "r", load: () => import("./run/Run.tsx") },
  { name: "integrate", title: "Integrate", key: "m", load: () => import("./integrate/Integrate.tsx") },
  { name: "cost", title: "Cost", key: "b", load: () => import("./cost/Cost.tsx") },
  { name: "audit", title: "Audit", key: "a", load: () => import("./audit/Audit.tsx") },
];

export const entryOf = (name: string): Entry | undefined => SCREENS.find((entry) => entry.name === name);

/** Whether there is a screen of that name: a link to it is shown only then. */
export const exists = (name: string): boolean => entryOf(name) !== undefined;
