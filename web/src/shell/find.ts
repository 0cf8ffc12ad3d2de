// Which of many things a few letters mean. Pure.
// Rules: every word of the query has to occur. A match at the beginning counts more than one at the beginning of a
// word, and that more than one inside; in the text more than in what stands beside it. Ties keep their order.

export interface Candidate {
  readonly text: string;
  readonly more: string;
}

export function find<T extends Candidate>(candidates: readonly T[], query: string, most: number): T[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return candidates.slice(0, most);
  const scored: { readonly candidate: T; readonly score: number }[] = [];
  for (const candidate of candidates) {
    const score = scoreOf(candidate, words);
    if (score > 0) scored.push({ candidate, score });
  }
  return scored
    .sort((a, b) => b.score - a.score)
    .slice(0, most)
    .map(({ candidate }) => candidate);
}

function scoreOf(candidate: Candidate, words: readonly string[]): number {
  let sum = 0;
  for (const word of words) {
    const score = Math.max(2 * within(candidate.text.toLowerCase(), word), within(candidate.more.toLowerCase(), word));
    if (score === 0) return 0;
    sum += score;
  }
  return sum;
}

function within(text: string, word: string): number {
  let best = 0;
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    if (at === 0) return 3;
    best = Math.max(best, /[\p{L}\p{N}]/u.test(text[at - 1] ?? "") ? 1 : 2);
  }
  return best;
}
