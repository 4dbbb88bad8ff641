/** The way of each click: sent, accepted, filled, with the time it took, or why it was refused. */

import type { Submission } from "../model.ts";
import { useView } from "./context.ts";
import { formatDuration } from "./format.ts";
import { problemWords, reasonWords } from "./words.ts";
import { Empty } from "./widgets.tsx";

export function Activity() {
  const { store } = useView();
  const submissions = store.submissions.value;
  if (submissions.length === 0) {
    return (
      <Empty>
        Nothing sent yet. Each order, amend and cancel of this page is shown here, with the time that it took.
      </Empty>
    );
  }
  return (
    <ol class="activity">
      {submissions.map((submission) => (
        <Item key={submission.key} submission={submission} />
      ))}
    </ol>
  );
}

function Item({ submission }: { readonly submission: Submission }) {
  const { state, acceptedAfterMs, filledAfterMs, problem, order } = submission;
  const acceptedWord = submission.kind === "place" ? "accepted" : "done";
  const rejected =
    order?.status === "rejected" || order?.status === "cancelled" ? reasonWords(order.reason) : null;
  return (
    <li class={`activity-item activity-${state}`}>
      <span class="activity-title">{submission.title}</span>
      <span class="way">
        <Step word="sent" isDone />
        {state === "unknown" ? <Step word="no answer: asking what became of it" tone="warn" isDone /> : null}
        {state === "refused" ? (
          <Step word="refused" tone="down" isDone after={acceptedAfterMs} />
        ) : (
          <Step
            word={acceptedWord}
            isDone={acceptedAfterMs !== null || state === "done"}
            after={acceptedAfterMs}
          />
        )}
        {filledAfterMs === null && state !== "filled" ? null : (
          <Step word="filled" tone="up" isDone after={filledAfterMs} />
        )}
      </span>
      {problem ? <span class="activity-why">{problemWords(problem)}</span> : null}
      {!problem && rejected && submission.kind === "place" ? (
        <span class="activity-why">
          {order?.status === "rejected" ? "Rejected" : "Cancelled"}: {rejected}
        </span>
      ) : null}
    </li>
  );
}

interface StepProps {
  readonly word: string;
  readonly isDone: boolean;
  readonly after?: number | null;
  readonly tone?: string;
}

function Step({ word, isDone, after = null, tone = "" }: StepProps) {
  return (
    <span class={`step ${isDone ? "step-done" : ""} ${tone}`}>
      {word}
      {after === null ? null : <b> {formatDuration(after)}</b>}
    </span>
  );
}
