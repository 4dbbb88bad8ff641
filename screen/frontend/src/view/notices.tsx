/** Short messages about what was accepted, filled or refused. Screen readers hear them, too. */

import { effect, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Submission } from "../model.ts";
import { useView, type Notice } from "./context.ts";
import { formatDuration } from "./format.ts";
import { problemWords, reasonWords } from "./words.ts";

const SHOWN_MAX = 4;
const SHOWN_MS = 5000;

export function Notices() {
  const { store } = useView();
  const notices = useMemo(() => signal<readonly Notice[]>([]), []);
  useEffect(() => {
    const told = new Map<string, string>(store.submissions.peek().map((each) => [each.key, each.state]));
    return effect(() => {
      for (const submission of store.submissions.value) {
        const before = told.get(submission.key);
        told.set(submission.key, submission.state);
        const notice = before === submission.state ? null : noticeOf(submission);
        if (notice) {
          show(notices, notice);
        }
      }
      forgetOld(told, store.submissions.value);
    });
  }, [store]);
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map((notice) => (
        <p key={notice.id} class={`notice notice-${notice.tone}`}>
          {notice.text}
        </p>
      ))}
    </div>
  );
}

function show(notices: { value: readonly Notice[]; peek(): readonly Notice[] }, notice: Notice): void {
  notices.value = [...notices.peek().filter((each) => each.id !== notice.id), notice].slice(-SHOWN_MAX);
  setTimeout(() => {
    notices.value = notices.peek().filter((each) => each !== notice);
  }, SHOWN_MS);
}

function forgetOld(told: Map<string, string>, submissions: readonly Submission[]): void {
  const known = new Set(submissions.map((each) => each.key));
  for (const key of told.keys()) {
    if (!known.has(key)) {
      told.delete(key);
    }
  }
}

function noticeOf(submission: Submission): Notice | null {
  const { key, title, order } = submission;
  const after = (milliseconds: number | null): string =>
    milliseconds === null ? "" : ` in ${formatDuration(milliseconds)}`;
  switch (submission.state) {
    case "sent":
      return null;
    case "unknown":
      return {
        id: key,
        tone: "plain",
        text: `${title}: no answer yet. Asking the exchange what became of it.`,
      };
    case "accepted":
      return { id: key, tone: "good", text: `${title}: accepted${after(submission.acceptedAfterMs)}.` };
    case "filled":
      return { id: key, tone: "good", text: `${title}: filled${after(submission.filledAfterMs)}.` };
    case "refused":
      return {
        id: key,
        tone: "bad",
        text: `${title}: refused. ${submission.problem ? problemWords(submission.problem) : ""}`,
      };
    case "done": {
      if (order?.reason === "client_request" && submission.kind === "place") {
        return null; // The cancel has a message of its own.
      }
      const why = submission.kind === "place" ? reasonWords(order?.reason ?? null) : null;
      const ended = order?.status === "rejected" ? "rejected" : "cancelled";
      return why === null
        ? { id: key, tone: "good", text: `${title}: done${after(submission.acceptedAfterMs)}.` }
        : { id: key, tone: "bad", text: `${title}: ${ended}, ${why}.` };
    }
  }
}
