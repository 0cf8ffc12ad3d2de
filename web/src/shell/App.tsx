// The frame around every screen: where one can go, how the deck is, whether what is shown is live.

import { useEffect, useRef, useState } from "preact/hooks";
import { startRun } from "../actions/StartRun.tsx";
import { Button, Empty } from "../components/basics.tsx";
import { Dialogs } from "../components/Dialog.tsx";
import { Glyph, Mark } from "../components/Mark.tsx";
import { complain, Toasts } from "../components/Toast.tsx";
import { type Entry, entryOf, exists, SCREENS, type Screen } from "../screens/registry.ts";
import { store } from "../store/live.ts";
import { leave } from "../store/me.ts";
import { nextTheme, theme } from "../store/prefs.ts";
import { me } from "../store/role.ts";
import { Boundary, Failed } from "./Boundary.tsx";
import { showHelp } from "./Help.tsx";
import { openPalette } from "./Palette.tsx";
import { go, link, place } from "./router.ts";
import { SignIn } from "./SignIn.tsx";
import { LinkState, Readouts, Trouble } from "./Status.tsx";
import { useKeys } from "./useKeys.ts";

export function App() {
  const main = useRef<HTMLElement>(null);
  useKeys("Everywhere", [
    ...SCREENS.map((entry) => ({ keys: `g ${entry.key}`, does: `Go to ${entry.title}`, act: () => go([entry.name]) })),
    { keys: "ctrl+k", does: "Find a screen, run, agent or command", act: openPalette },
    { keys: "c", does: "Start a run", orders: true, act: startRun },
    { keys: "t", does: "Change the theme", act: nextTheme },
    { keys: "?", does: "Show the keys", act: showHelp },
  ]);
  // Another screen begins at its top, and a screen reader is told where it is.
  const screen = place.value.screen;
  const before = useRef(screen);
  useEffect(() => {
    if (before.current === screen) return;
    before.current = screen;
    main.current?.scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [screen]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <div class="frame">
        <Rail />
        <div class="stage">
          <section aria-label="The deck">
            <Readouts />
            <Trouble />
          </section>
          <main id="main" ref={main} tabIndex={-1} aria-label={entryOf(screen)?.title ?? "Nothing"}>
            <Boundary key={screen}>
              <Stage />
            </Boundary>
          </main>
        </div>
      </div>
      <Dialogs />
      <Toasts />
    </>
  );
}

const signOut = () => void leave().catch(complain);

function Rail() {
  const list = useRef<HTMLUListElement>(null);
  const screen = place.value.screen;
  // Where the list is wider than the window, the screen that one is on is in sight, also when a badge comes or goes.
  useEffect(() => {
    const show = () =>
      list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    const watch = new ResizeObserver(show);
    for (const item of list.current?.children ?? []) watch.observe(item);
    return () => watch.disconnect();
  }, [screen]);
  return (
    <header class="rail">
      <a class="brand" href={link([SCREENS[0]?.name ?? ""])}>
        <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
          <path
            d="M4 23h24M8 23v-8m8 8V6m8 17V11"
            fill="none"
            stroke="currentColor"
            stroke-width="3"
            stroke-linecap="round"
          />
        </svg>
        <span>Quarterdeck</span>
      </a>
      <nav class="nav" aria-label="Screens">
        <ul ref={list}>
          {SCREENS.map((entry) => (
            <Item key={entry.name} entry={entry} />
          ))}
        </ul>
      </nav>
      <div class="tools">
        <Button orders act={startRun} keys="c">
          Start a run
        </Button>
        <div class="tools-row">
          <Button look="bare" little act={openPalette}>
            Find <kbd aria-hidden="true">Ctrl K</kbd>
          </Button>
          <Button look="bare" little act={nextTheme}>
            {theme.value === "system" ? "Auto" : theme.value === "dark" ? "Dark" : "Light"}
            <span class="unseen"> theme: change it</span>
          </Button>
          <Button look="bare" little act={showHelp} label="Show the keys">
            ?
          </Button>
          {me.value?.session && (
            <Button look="bare" little act={signOut}>
              Sign out
            </Button>
          )}
        </div>
        <LinkState />
      </div>
    </header>
  );
}

function Item({ entry }: { readonly entry: Entry }) {
  const here = place.value.screen === entry.name;
  return (
    <li>
      <a href={link([entry.name])} aria-current={here ? "page" : undefined} aria-keyshortcuts={`g ${entry.key}`}>
        <span>{entry.title}</span>
        <Badge name={entry.name} />
        <kbd aria-hidden="true">g {entry.key}</kbd>
      </a>
    </li>
  );
}

/** How much there is on a screen that needs somebody. */
function Badge({ name }: { readonly name: string }) {
  if (name === "now") {
    const needs = store.ranked.value;
    const urgent = needs.filter((need) => need.severity === "now").length;
    const others = needs.filter((need) => need.severity === "soon").length;
    if (urgent) return <Count n={urgent} tone="bad" word="now" />;
    return others ? <Count n={others} tone="wait" word="soon" /> : null;
  }
  if (name === "inbox") {
    const open = store.deck.value?.inbox_open ?? 0;
    return open ? <Count n={open} tone="wait" word="open" /> : null;
  }
  if (name === "fleet") {
    const silent = store.silent.value;
    return silent ? <Count n={silent} tone="bad" word="silent" /> : null;
  }
  return null;
}

function Count({ n, tone, word }: { readonly n: number; readonly tone: "bad" | "wait"; readonly word: string }) {
  return (
    <span class={`count tone-${tone}`}>
      <Glyph shape={tone === "bad" ? "triangle" : "diamond"} />
      {n}
      <span class="unseen"> {word}</span>
    </span>
  );
}

/** The screen of the place; the last one stays in sight while the next is loaded. */
function Stage() {
  const here = place.value;
  const entry = entryOf(here.screen);
  const [loaded, setLoaded] = useState<{ readonly name: string; readonly screen: Screen } | null>(null);
  const [failed, setFailed] = useState(false);
  const heard = store.link.value.state;
  const away = useRef(false);

  useEffect(() => {
    let left = false;
    setFailed(false);
    entry?.load().then(
      (module) => !left && setLoaded({ name: entry.name, screen: module.default }),
      () => !left && setFailed(true),
    );
    return () => {
      left = true;
    };
  }, [entry]);

  // What could not be loaded while the server was away comes when it is back: with the page, since a browser does not
  // ask a second time for a module that it did not get. What somebody is writing in a dialog is kept.
  useEffect(() => {
    if (heard === "lost") away.current = true;
    else if (heard === "live" && away.current) {
      away.current = false;
      if (failed && !document.querySelector("[role=dialog]")) location.reload();
    }
  }, [heard]);

  // Seen in a tab that is not looked at: how much is urgent.
  const urgent = store.ranked.value.filter((need) => need.severity === "now").length;
  useEffect(() => {
    document.title = `${urgent ? `(${urgent}) ` : ""}${entry ? `${entry.title} · ` : ""}Quarterdeck`;
  }, [urgent, entry]);

  if (!exists(here.screen)) {
    return (
      <Empty title="There is no such screen">
        <a href={link([SCREENS[0]?.name ?? ""])}>Go to {SCREENS[0]?.title}</a>
      </Empty>
    );
  }
  if (failed) {
    return <Failed what="It did not load: the server has ended, or another version of it runs now." />;
  }
  if (!loaded || loaded.name !== here.screen) return <h1 class="unseen">{entry?.title}</h1>;
  const Shown = loaded.screen;
  if (!store.deck.value && store.link.value.state !== "live") return <Waiting />;
  return <Shown place={here} />;
}

function Waiting() {
  const known = store.link.value;
  if (known.state === "lost" && known.status === 401) return <SignIn />;
  if (known.state === "connecting") return <p class="waiting-note quiet">Reading the deck…</p>;
  return (
    <Empty title="The deck's server does not answer" next="quarterdeck up">
      This page goes on by itself as soon as it does. <Mark state="waiting" word="Trying again" />
    </Empty>
  );
}
