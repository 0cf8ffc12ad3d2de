// The keyboard.
// Rules: what a key does is said in layers: the shell's below, the screen's above it, a dialog's on top. The topmost
// layer that knows a key gets it; a layer may be `closed`, then nothing below it is asked, and no other but a closed
// one comes above it. A sequence (`g n`) waits a moment for its second key. Typing is never disturbed: in a field only
// Escape and keys with Ctrl or Meta count, and an Escape that nobody wants leaves the field.

export interface Binding {
  /** `j`, `?`, `Escape`, `ctrl+k`, or two in a row: `g n`. */
  readonly keys: string;
  /** Other keys that do the same. */
  readonly also?: readonly string[];
  /** For the list of keys. */
  readonly does: string;
  /** Changes something on the deck: whoever may only look does not have it. */
  readonly orders?: boolean;
  readonly act: () => void;
}

export interface Layer {
  readonly title: string;
  readonly bindings: readonly Binding[];
  readonly closed?: boolean;
}

export interface Pressed {
  readonly key: string;
  readonly ctrl: boolean;
  readonly alt: boolean;
  readonly typing: boolean;
}

/** The name of a pressed key as bindings write it. */
export function named(pressed: Pressed): string {
  return `${pressed.ctrl ? "ctrl+" : ""}${pressed.alt ? "alt+" : ""}${pressed.ctrl ? pressed.key.toLowerCase() : pressed.key}`;
}

export class Keyboard {
  readonly #layers: Layer[] = [];
  #begun = "";
  #begunAt = 0;
  /** How long a sequence may take, in milliseconds. */
  static readonly PATIENCE = 1200;

  /** Lay a layer on top, but a screen's, which may come late, never above a closed one; the answer takes it away. */
  push(layer: Layer): () => void {
    const closed = layer.closed ? -1 : this.#layers.findIndex((one) => one.closed);
    this.#layers.splice(closed < 0 ? this.#layers.length : closed, 0, layer);
    return () => {
      const index = this.#layers.lastIndexOf(layer);
      if (index >= 0) this.#layers.splice(index, 1);
    };
  }

  /** From the top down to the first closed one. */
  get layers(): readonly Layer[] {
    const found: Layer[] = [];
    for (const layer of [...this.#layers].reverse()) {
      found.push(layer);
      if (layer.closed) break;
    }
    return found;
  }

  /** Whether the key was somebody's. `at` in milliseconds. */
  press(pressed: Pressed, at: number, singles = true): boolean {
    const key = named(pressed);
    const free = pressed.ctrl || pressed.key === "Escape";
    if (!free && (pressed.typing || !singles)) return false;
    const begun = at - this.#begunAt <= Keyboard.PATIENCE ? this.#begun : "";
    this.#begun = "";
    const bound = (begun && this.#find(`${begun} ${key}`)) || this.#find(key);
    if (bound) {
      bound.act();
      return true;
    }
    if (this.#opens(key)) {
      this.#begun = key;
      this.#begunAt = at;
      return true;
    }
    return false;
  }

  #find(keys: string): Binding | undefined {
    for (const layer of this.layers) {
      const found = layer.bindings.find((binding) => binding.keys === keys || binding.also?.includes(keys));
      if (found) return found;
    }
    return undefined;
  }

  #opens(key: string): boolean {
    return this.layers.some((layer) => layer.bindings.some((binding) => binding.keys.startsWith(`${key} `)));
  }
}

export const keyboard = new Keyboard();

const FIELDS =
  "input:not([type=checkbox]):not([type=radio]):not([type=button]), textarea, select, [contenteditable=true]";

/** Hand the page's key presses to the keyboard. `singles` says whether keys without Ctrl count. */
export function startKeyboard(singles: () => boolean): () => void {
  const press = (event: KeyboardEvent) => {
    if (event.defaultPrevented || event.isComposing) return;
    const typing = event.target instanceof Element && event.target.closest(FIELDS) !== null;
    const pressed = { key: event.key, ctrl: event.ctrlKey || event.metaKey, alt: event.altKey, typing };
    if (keyboard.press(pressed, event.timeStamp, singles())) event.preventDefault();
    else if (typing && event.key === "Escape" && event.target instanceof HTMLElement) event.target.blur();
  };
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}
