/**
 * The few marks of Markdown that reports use, as blocks: headings, lists, code, paragraphs, and code and emphasis in a
 * line. Everything else stays the text that it is: no links, no images, no HTML.
 */

export type Block =
  | { readonly kind: "heading"; readonly level: number; readonly text: string }
  | { readonly kind: "item"; readonly depth: number; readonly text: string }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "text"; readonly text: string };

export interface Piece {
  readonly text: string;
  readonly look: "plain" | "code" | "strong";
}

export function blocks(markdown: string): Block[] {
  const found: Block[] = [];
  const lines = markdown.split("\n");
  let paragraph: string[] = [];
  const flush = () => {
    if (paragraph.length > 0) found.push({ kind: "text", text: paragraph.join("\n") });
    paragraph = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] as string;
    const fence = /^\s*(`{3,}|~{3,})/.exec(line)?.[1];
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    const item = /^(\s*)[-*]\s+(.*)$/.exec(line);
    if (fence !== undefined) {
      flush();
      const code: string[] = [];
      // A fence that is never closed runs to the end, as in every reader of Markdown.
      for (at += 1; at < lines.length && !(lines[at] as string).trim().startsWith(fence); at += 1)
        code.push(lines[at] as string);
      found.push({ kind: "code", text: code.join("\n") });
    } else if (heading) {
      flush();
      found.push({ kind: "heading", level: (heading[1] as string).length, text: heading[2] as string });
    } else if (item) {
      flush();
      found.push({ kind: "item", depth: Math.floor((item[1] as string).length / 2), text: item[2] as string });
    } else if (line.trim() === "") {
      flush();
    } else {
      const last = found[found.length - 1];
      // An indented line goes on with the item above it.
      if (paragraph.length === 0 && last?.kind === "item" && /^\s{2,}\S/.test(line)) {
        found[found.length - 1] = { ...last, text: `${last.text}\n${line.trim()}` };
      } else paragraph.push(line);
    }
  }
  flush();
  return found;
}

export function inline(text: string): Piece[] {
  const found: Piece[] = [];
  let last = 0;
  for (const match of text.matchAll(/(`+)([^`]+?)\1(?!`)|\*\*([^*]+?)\*\*/g)) {
    if (match.index > last) found.push({ text: text.slice(last, match.index), look: "plain" });
    found.push(
      match[2] !== undefined ? { text: match[2], look: "code" } : { text: match[3] as string, look: "strong" },
    );
    last = match.index + match[0].length;
  }
  if (last < text.length) found.push({ text: text.slice(last), look: "plain" });
  return found;
}
