// Who the server takes this browser's person for, and the way in where it wants a token.
// Rules: a token is exchanged once for a cookie that scripts cannot read; it is kept nowhere.

import { get, post, remove } from "../api/client.ts";
import { stream } from "./live.ts";
import { type Me, me } from "./role.ts";

/** Learn who asks; nobody yet where a token is needed first. */
export function learnMe(): void {
  get<Me>("me").then(
    (found) => {
      me.value = found;
    },
    () => {
      me.value = null;
    },
  );
}

/** Raises Refused where the token is unknown. */
export async function enter(token: string): Promise<void> {
  me.value = await post<Me>("session", { token });
  stream.retry();
}

/** End the session. The page begins anew, so that nothing that was shown stays in it. */
export async function leave(): Promise<void> {
  await remove("session");
  location.reload();
}
