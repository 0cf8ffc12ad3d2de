// What a person set for this browser: kept beside the page, never sent. Where nothing can be kept, it lasts as long
// as the page.

import { type Signal, signal } from "@preact/signals";

export type Theme = "system" | "dark" | "light";

const THEMES: readonly Theme[] = ["system", "dark", "light"];

function kept(name: string): string | null {
  try {
    return localStorage.getItem(`quarterdeck.${name}`);
  } catch {
    return null;
  }
}

function keep(name: string, value: string): void {
  try {
    localStorage.setItem(`quarterdeck.${name}`, value);
  } catch {
    // Storage is off for this page: the choice holds until it is closed.
  }
}

export const theme: Signal<Theme> = signal("system");
/** Keys without Ctrl or Alt do something; off for those whom they get in the way, such as speech input. */
export const singleKeys = signal(true);

export function loadPrefs(): void {
  const chosen = THEMES.find((known) => known === kept("theme"));
  if (chosen) theme.value = chosen;
  singleKeys.value = kept("keys") !== "off";
  showTheme();
}

export function setTheme(value: Theme): void {
  theme.value = value;
  keep("theme", value);
  showTheme();
}

export function nextTheme(): void {
  setTheme(THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? "system");
}

export function setSingleKeys(on: boolean): void {
  singleKeys.value = on;
  keep("keys", on ? "on" : "off");
}

function showTheme(): void {
  if (theme.value === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
}
