// How numbers, money and times are written. Pure, in one place, so that the same thing reads the same everywhere.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** A length of time in at most two units: `4 s`, `12 min`, `3 h 05`, `2 d 4 h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < DAY)
    return `${Math.floor(whole / HOUR)} h ${String(Math.floor((whole % HOUR) / MINUTE)).padStart(2, "0")}`;
  const hours = Math.floor((whole % DAY) / HOUR);
  return `${Math.floor(whole / DAY)} d${hours ? ` ${hours} h` : ""}`;
}

/** `12 s ago`, `in 3 min`, `now`. */
export function relative(at: number, now: number): string {
  const past = now - at;
  if (Math.abs(past) < 1.5) return "now";
  return past > 0 ? `${duration(past)} ago` : `in ${duration(-past)}`;
}

/** Made once: to make one costs a thousand times what it costs to use it. */
let moment: Intl.DateTimeFormat | undefined;

/** The moment in the reader's own zone, to the second. */
export function absolute(at: number): string {
  moment ??= new Intl.DateTimeFormat(undefined, {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });
  return moment.format(at * 1000);
}

const sums = new Map<number, Intl.NumberFormat>();

function sum(digits: number): Intl.NumberFormat {
  const known = sums.get(digits);
  if (known) return known;
  const made = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: digits });
  sums.set(digits, made);
  return made;
}

/** USD. Small sums keep the digits that tell them from nothing. */
export function money(usd: number): string {
  const size = Math.abs(usd);
  if (size === 0) return "$0.00";
  if (size < 0.0001) return `${usd < 0 ? "-" : ""}<$0.0001`;
  return `${usd < 0 ? "-" : ""}$${sum(size < 0.01 ? 4 : size < 1 ? 3 : 2).format(size)}`;
}

const wholes = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** `1,000`: what is counted one by one, whole. */
export const whole = (n: number): string => wholes.format(n);

/** `950`, `12.4k`, `3.1M`. */
export function count(n: number): string {
  if (Math.abs(n) < 1000) return String(Math.round(n));
  const [size, unit] = Math.abs(n) < 999_500 ? [n / 1000, "k"] : [n / 1_000_000, "M"];
  return `${Math.abs(size) < 99.95 ? size.toFixed(1).replace(/\.0$/, "") : Math.round(size)}${unit}`;
}

/** `<1%` is not nothing, `>99%` is not all. */
export function percent(part: number, whole: number): string {
  if (whole <= 0) return "0%";
  const share = (part / whole) * 100;
  if (share > 0 && share < 1) return "<1%";
  return share > 99 && share < 100 ? ">99%" : `${Math.round(share)}%`;
}

/** `1 task`, `3 tasks`, `1,200 tasks`. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${whole(n)} ${n === 1 ? one : many}`;

/** The beginning of an id, which the command line takes too. */
export const short = (id: string): string => (id.length > 14 ? id.slice(0, 12) : id);
