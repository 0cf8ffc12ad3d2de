// A component's keys, for as long as it is shown. The newest closures are called, though the layer is laid once, so that
// drawing anew does not lift it above a dialog's. It is laid and taken away together with what is drawn: what is pressed
// next is meant for what is seen.

import { useLayoutEffect, useRef } from "preact/hooks";
import { mayOrder, me } from "../store/role.ts";
import { type Binding, keyboard } from "./keys.ts";

export function useKeys(title: string, bindings: readonly Binding[], closed = false): void {
  const given = mayOrder(me.value) ? bindings : bindings.filter((binding) => !binding.orders);
  const newest = useRef(given);
  newest.current = given;
  const names = given.map((binding) => binding.keys).join("|");
  useLayoutEffect(() => {
    const fixed = newest.current.map(({ keys, also, does }) => ({
      keys,
      ...(also ? { also } : {}),
      does,
      act: () => newest.current.find((binding) => binding.keys === keys)?.act(),
    }));
    return keyboard.push({ title, bindings: fixed, closed });
  }, [title, names, closed]);
}
