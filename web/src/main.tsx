import "./style/tokens.css";
import "./style/base.css";
import "./style/components.css";
import "./shell/shell.css";
import { render } from "preact";
import { App } from "./shell/App.tsx";
import { startKeyboard } from "./shell/keys.ts";
import { startRouter } from "./shell/router.ts";
import { startClock } from "./store/clock.ts";
import { follow, stream } from "./store/live.ts";
import { learnMe } from "./store/me.ts";
import { loadPrefs, singleKeys } from "./store/prefs.ts";

loadPrefs();
startRouter();
startClock();
startKeyboard(() => singleKeys.value);
follow(null);
learnMe();
addEventListener("online", () => stream.retry());

const root = document.getElementById("app");
if (root) render(<App />, root);
