// Start a run: a goal or a plan, where, and what it may cost.

import { useState } from "preact/hooks";
import { post } from "../api/client.ts";
import { Field } from "../components/basics.tsx";
import { AskForm, ask } from "../components/Dialog.tsx";
import { say } from "../components/Toast.tsx";
import { exists } from "../screens/registry.ts";
import { go } from "../shell/router.ts";
import { store } from "../store/live.ts";

interface Created {
  readonly run: string;
}

export function startRun(): void {
  ask(<StartRun />);
}

/** The repositories of the runs that are there, newest first: most often it is one of them again. */
function repositories(): string[] {
  const runs = store.runs.all().sort((a, b) => b.created_at - a.created_at);
  return [...new Set(runs.map((run) => run.repository))];
}

function StartRun() {
  const known = repositories();
  const [goal, setGoal] = useState("");
  const [plan, setPlan] = useState("");
  const [byPlan, setByPlan] = useState(false);
  const [repository, setRepository] = useState(known[0] ?? "");
  const [base, setBase] = useState("");
  const [into, setInto] = useState("");
  const [agent, setAgent] = useState("");
  const [budget, setBudget] = useState("");
  const what = byPlan ? plan : goal;

  const submit = async () => {
    const created = await post<Created>("runs", {
      ...(byPlan ? { plan } : { goal }),
      repository,
      ...(base && { base }),
      ...(into && { into }),
      ...(agent && { agent }),
      ...(budget && { budget_usd: Number(budget) }),
    });
    say(`${created.run} is started`);
    if (exists("run")) go(["run", created.run]);
  };

  return (
    <AskForm title="Start a run" send="Start" submit={submit} ready={what.trim() !== "" && repository.trim() !== ""}>
      {byPlan ? (
        <Field label="Plan" hint="YAML or JSON, as for quarterdeck run --plan">
          <textarea
            class="input mono"
            rows={10}
            autofocus
            value={plan}
            onInput={(event) => setPlan(event.currentTarget.value)}
          />
        </Field>
      ) : (
        <Field label="Goal" hint="What should be true of the software afterwards, and how one would see it">
          <textarea
            class="input"
            rows={4}
            autofocus
            value={goal}
            onInput={(event) => setGoal(event.currentTarget.value)}
          />
        </Field>
      )}
      <label class="check">
        <input type="checkbox" checked={byPlan} onChange={(event) => setByPlan(event.currentTarget.checked)} />
        <span>I have a plan file</span>
      </label>
      <Field label="Repository" hint="A path on the deck's machine">
        <input
          class="input mono"
          list="known-repositories"
          value={repository}
          onInput={(event) => setRepository(event.currentTarget.value)}
        />
      </Field>
      <datalist id="known-repositories">
        {known.map((path) => (
          <option key={path} value={path} />
        ))}
      </datalist>
      <div class="fields">
        <Field label="From" hint="A branch or commit; else HEAD">
          <input class="input mono" value={base} onInput={(event) => setBase(event.currentTarget.value)} />
        </Field>
        <Field label="Onto branch" hint="Else a branch of its own">
          <input class="input mono" value={into} onInput={(event) => setInto(event.currentTarget.value)} />
        </Field>
        <Field label="Agent" hint="Else who owns the paths">
          <input class="input mono" value={agent} onInput={(event) => setAgent(event.currentTarget.value)} />
        </Field>
        <Field label="Budget in USD" hint="Else as configured">
          <input
            class="input"
            type="number"
            min="0"
            step="any"
            inputMode="decimal"
            value={budget}
            onInput={(event) => setBudget(event.currentTarget.value)}
          />
        </Field>
      </div>
    </AskForm>
  );
}
