// One of a few: buttons side by side of which one is pressed.

export function Segment<T extends string>(props: {
  readonly label: string;
  readonly options: readonly (readonly [T, string])[];
  readonly chosen: T;
  readonly choose: (option: T) => void;
}) {
  return (
    <div class="segment" role="group" aria-label={props.label}>
      {props.options.map(([option, word]) => (
        <button key={option} type="button" aria-pressed={option === props.chosen} onClick={() => props.choose(option)}>
          {word}
        </button>
      ))}
    </div>
  );
}
