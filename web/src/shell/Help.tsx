// The keys that do something here, read from the keyboard itself, so that the list is never wrong.

import { Button } from "../components/basics.tsx";
import { ask, closeDialog, Dialog } from "../components/Dialog.tsx";
import { setSingleKeys, singleKeys } from "../store/prefs.ts";
import { keyboard, type Layer } from "./keys.ts";

export function showHelp(): void {
  ask(<Help layers={keyboard.layers} />);
}

function Help({ layers }: { readonly layers: readonly Layer[] }) {
  return (
    <Dialog title="Keys" wide>
      <div class="dialog">
        <header>
          <h2>Keys</h2>
        </header>
        <div class="body keys">
          {layers.map((layer) => (
            <section key={layer.title}>
              <h3>{layer.title}</h3>
              <dl>
                {layer.bindings.map((binding) => (
                  <div key={binding.keys}>
                    <dt>
                      {[...binding.keys.split(" "), ...(binding.also ?? [])].map((key) => (
                        <kbd key={key}>{shown(key)}</kbd>
                      ))}
                    </dt>
                    <dd>{binding.does}</dd>
                  </div>
                ))}
              </dl>
            </section>
          ))}
          <label class="check">
            <input
              type="checkbox"
              checked={singleKeys.value}
              onChange={(event) => setSingleKeys(event.currentTarget.checked)}
            />
            <span>Keys without Ctrl do something (turn this off for speech input)</span>
          </label>
        </div>
        <footer>
          <Button act={closeDialog}>Close</Button>
        </footer>
      </div>
    </Dialog>
  );
}

const SHOWN: Readonly<Record<string, string>> = {
  "ctrl+k": "Ctrl K",
  Escape: "Esc",
  Enter: "↵",
  ArrowDown: "↓",
  ArrowUp: "↑",
  ArrowLeft: "←",
  ArrowRight: "→",
  PageDown: "PgDn",
  PageUp: "PgUp",
};

const shown = (key: string): string => SHOWN[key] ?? key;
