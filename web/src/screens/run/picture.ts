/**
 * What is done with a task graph once it is laid out: its edges as lines, the way of the arrow keys, the part in view.
 */

import { type Box, type Edge, type Picture, SIZES, type Sizes } from "./graph.ts";

/** An edge as an SVG path: level where it passes boxes, a soft curve between columns. */
export function path(points: Edge["points"]): string {
  let text = "";
  points.forEach(([x, y], index) => {
    const before = points[index - 1];
    if (before === undefined) text = `M${x} ${y}`;
    else if (before[1] === y) text += `L${x} ${y}`;
    else text += `C${(before[0] + x) / 2} ${before[1]} ${(before[0] + x) / 2} ${y} ${x} ${y}`;
  });
  return text;
}

/** The box that an arrow key leads to from `from`, or `from` itself where there is none. */
export function step(picture: Picture, from: string, key: "left" | "right" | "up" | "down"): string {
  const here = picture.boxes.find((box) => box.id === from);
  if (here === undefined) return picture.boxes[0]?.id ?? from;
  const near = (found: readonly Box[]) =>
    found.reduce<Box | null>(
      (best, box) => (best === null || Math.abs(box.y - here.y) < Math.abs(best.y - here.y) ? box : best),
      null,
    );
  if (key === "up" || key === "down") {
    const beside = picture.boxes.filter(
      (box) => box.column === here.column && (key === "up" ? box.y < here.y : box.y > here.y),
    );
    return near(beside)?.id ?? from;
  }
  const joined = new Set(
    picture.edges
      .filter((edge) => (key === "left" ? edge.to : edge.from) === from)
      .map((edge) => (key === "left" ? edge.from : edge.to)),
  );
  const linked = picture.boxes.filter((box) => joined.has(box.id));
  const next = here.column + (key === "left" ? -1 : 1);
  return (near(linked) ?? near(picture.boxes.filter((box) => box.column === next)))?.id ?? from;
}

/** The boxes and edges that touch a part of the picture, so that a large one costs no more than a small one. */
export function within(
  picture: Picture,
  left: number,
  top: number,
  right: number,
  bottom: number,
  sizes: Sizes = SIZES,
): Pick<Picture, "boxes" | "edges"> {
  return {
    boxes: picture.boxes.filter(
      (box) => box.x <= right && box.x + sizes.width >= left && box.y <= bottom && box.y + sizes.height >= top,
    ),
    edges: picture.edges.filter(({ points }) => {
      const [first, last] = [points[0] as readonly number[], points[points.length - 1] as readonly number[]];
      if ((first[0] as number) > right || (last[0] as number) < left) return false;
      const ys = points.map((point) => point[1]);
      return Math.min(...ys) <= bottom && Math.max(...ys) >= top;
    }),
  };
}
