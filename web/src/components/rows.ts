// Which rows of a long list are drawn, and which one is next. Pure.

/** Rows drawn above and below what is in sight. */
const AROUND = 6;

/** The first and the one after the last row to draw. Pure. */
export function inSight(top: number, view: number, height: number, count: number): [number, number] {
  const first = Math.max(0, Math.min(count, Math.floor(top / height) - AROUND));
  const last = Math.min(count, Math.ceil((top + view) / height) + AROUND);
  return [first, Math.max(first, last)];
}

/** The neighbour of the chosen row: `by` 1 is the next one, -1 the one before. */
export function beside(ids: readonly string[], chosen: string | null, by: number): string | null {
  if (ids.length === 0) return null;
  const index = chosen === null ? -1 : ids.indexOf(chosen);
  if (index < 0) return (by > 0 ? ids[0] : ids[ids.length - 1]) ?? null;
  return ids[Math.min(ids.length - 1, Math.max(0, index + by))] ?? null;
}
