// A report as its blocks. What it says is text, also where it looks like markup.

import { useMemo } from "preact/hooks";
import { type Block, blocks, inline } from "./markdown.ts";

export function Markdown({ text }: { readonly text: string }) {
  const found = useMemo(() => blocks(text), [text]);
  return (
    <div class="markdown">
      {found.map((block, at) => (
        <One key={at} block={block} />
      ))}
    </div>
  );
}

function One({ block }: { readonly block: Block }) {
  if (block.kind === "code") return <pre class="code">{block.text}</pre>;
  if (block.kind === "item") {
    return (
      <p class="item" style={{ marginLeft: `${block.depth * 16}px` }}>
        <span aria-hidden="true">•</span>
        <span>
          <Line text={block.text} />
        </span>
      </p>
    );
  }
  if (block.kind === "text") {
    return (
      <p>
        <Line text={block.text} />
      </p>
    );
  }
  // The screen has the first two levels.
  return block.level <= 2 ? (
    <h3>
      <Line text={block.text} />
    </h3>
  ) : (
    <h4>
      <Line text={block.text} />
    </h4>
  );
}

function Line({ text }: { readonly text: string }) {
  return (
    <>
      {inline(text).map((piece, at) =>
        piece.look === "code" ? (
          <code key={at}>{piece.text}</code>
        ) : piece.look === "strong" ? (
          <strong key={at}>{piece.text}</strong>
        ) : (
          piece.text
        ),
      )}
    </>
  );
}
