// Keeps a bug in one screen from taking the others along: it is said, and everything around it goes on.

import { Component, type ComponentChildren } from "preact";
import { Button, Empty } from "../components/basics.tsx";

interface Props {
  readonly children: ComponentChildren;
}

export class Boundary extends Component<Props, { readonly error: unknown }> {
  override state = { error: null as unknown };

  override componentDidCatch(error: unknown): void {
    this.setState({ error });
  }

  override render(props: Props) {
    const { error } = this.state;
    return error === null ? props.children : <Failed what={error instanceof Error ? error.message : String(error)} />;
  }
}

/** A screen that cannot be shown. */
export function Failed({ what }: { readonly what: string }) {
  return (
    <Empty title="This screen cannot be shown">
      <span class="mono">{what}</span>
      <br />
      <br />
      <Button act={() => location.reload()}>Load the page again</Button>
    </Empty>
  );
}
