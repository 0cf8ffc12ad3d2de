import assert from "node:assert/strict";
import { test } from "node:test";
import { find } from "../src/shell/find.ts";
import { type Binding, Keyboard } from "../src/shell/keys.ts";
import { link, parsePlace } from "../src/shell/router.ts";

test("a link leads back to the place it was made from", () => {
  for (const [path, params] of [
    [["now"], {}],
    [["run", "r-1"], { attempt: "r-1.task-a.1" }],
    [["fleet", "ä/b ?&#%"], { q: "a=b&c #d %" }],
  ] as const) {
    const found = parsePlace(link(path, params));
    assert.deepEqual([found.screen, ...found.parts], path);
    assert.deepEqual(found.params, params);
  }
});

test("an address that nobody made leads somewhere all the same", () => {
  assert.equal(parsePlace("").screen, "now");
  assert.equal(parsePlace("#").screen, "now");
  assert.deepEqual(parsePlace("#/run/%zz").parts, ["%zz"]);
});

const pressed = (key: string, more: { ctrl?: boolean; typing?: boolean } = {}) => ({
  key,
  ctrl: more.ctrl ?? false,
  alt: false,
  typing: more.typing ?? false,
});

function board() {
  const keyboard = new Keyboard();
  const did: string[] = [];
  const on = (keys: string, name = keys): Binding => ({ keys, does: name, act: () => void did.push(name) });
  return { keyboard, did, on };
}

test("two keys in a row are one, if the second comes soon", () => {
  const { keyboard, did, on } = board();
  keyboard.push({ title: "shell", bindings: [on("g n"), on("n")] });
  assert.ok(keyboard.press(pressed("g"), 0));
  assert.ok(keyboard.press(pressed("n"), 500));
  keyboard.press(pressed("g"), 10_000);
  keyboard.press(pressed("n"), 20_000);
  assert.deepEqual(did, ["g n", "n"]);
});

test("the topmost layer that knows a key gets it, and a closed one keeps the rest from those below", () => {
  const { keyboard, did, on } = board();
  keyboard.push({ title: "shell", bindings: [on("a", "below"), on("b")] });
  const close = keyboard.push({ title: "screen", bindings: [on("a", "above")] });
  keyboard.press(pressed("a"), 0);
  const end = keyboard.push({ title: "dialog", bindings: [on("Escape")], closed: true });
  assert.equal(keyboard.press(pressed("b"), 0), false);
  end();
  close();
  keyboard.press(pressed("a"), 0);
  assert.deepEqual(did, ["above", "below"]);
});

test("a screen that comes while a dialog is open lies below it, and another dialog above", () => {
  const { keyboard, did, on } = board();
  const one = keyboard.push({ title: "dialog", bindings: [on("Escape", "first")], closed: true });
  keyboard.push({ title: "screen", bindings: [on("Escape", "screen")] });
  keyboard.press(pressed("Escape"), 0);
  const two = keyboard.push({ title: "another", bindings: [on("Escape", "second")], closed: true });
  keyboard.push({ title: "pane", bindings: [on("Escape", "pane")] });
  keyboard.press(pressed("Escape"), 0);
  two();
  one();
  keyboard.press(pressed("Escape"), 0);
  assert.deepEqual(did, ["first", "second", "pane"]);
});

test("typing is not disturbed, but Escape and keys with Ctrl count there too", () => {
  const { keyboard, did, on } = board();
  keyboard.push({ title: "shell", bindings: [on("a"), on("Escape"), on("ctrl+k")] });
  assert.equal(keyboard.press(pressed("a", { typing: true }), 0), false);
  keyboard.press(pressed("Escape", { typing: true }), 0);
  keyboard.press(pressed("K", { typing: true, ctrl: true }), 0);
  assert.deepEqual(did, ["Escape", "ctrl+k"]);
});

test("single keys can be turned off", () => {
  const { keyboard, did, on } = board();
  keyboard.push({ title: "shell", bindings: [on("a"), on("ctrl+k")] });
  assert.equal(keyboard.press(pressed("a"), 0, false), false);
  keyboard.press(pressed("k", { ctrl: true }), 0, false);
  assert.deepEqual(did, ["ctrl+k"]);
});

test("other keys of a binding do the same", () => {
  const { keyboard, did, on } = board();
  keyboard.push({ title: "list", bindings: [{ ...on("j"), also: ["ArrowDown"] }] });
  keyboard.press(pressed("ArrowDown"), 0);
  assert.deepEqual(did, ["j"]);
});

test("every word has to be found, and where it is found decides the order", () => {
  const all = ["reset the setting", "settings", "the asset", "nothing"].map((text) => ({ text, more: "r-1" }));
  assert.deepEqual(
    find(all, "set", 9).map((one) => one.text),
    ["settings", "reset the setting", "the asset"],
  );
  assert.deepEqual(
    find(all, "set r-1 res", 9).map((one) => one.text),
    ["reset the setting"],
  );
  assert.equal(find(all, "", 2).length, 2);
});
