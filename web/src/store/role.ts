// Who the server takes this browser's person for, and what that lets them do.

import { signal } from "@preact/signals";

export interface Me {
  readonly name: string;
  readonly role: "viewer" | "operator" | "admin";
  /** Whether a token was exchanged for a session, which can be ended. */
  readonly session: boolean;
}

export const me = signal<Me | null>(null);

/** Whether to offer what changes something; the server decides. */
export const mayOrder = (person: Me | null): boolean => person?.role !== "viewer";
