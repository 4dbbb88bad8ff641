/** The instructions of an order: time in force, post-only, self-trade prevention. */

import type { SelfTradePrevention, TimeInForce } from "../model.ts";
import { hasLimit } from "./estimate.ts";
import type { TicketProps } from "./ticket.tsx";
import { useFieldError } from "./ticket_fields.tsx";
import { localInputTime, takesPostOnly, timesInForceOf } from "./ticket_form.ts";
import { SELF_TRADE_WORDS, TIME_IN_FORCE_WORDS } from "./words.ts";

const INSTRUCTION_FIELDS = ["time_in_force", "self_trade_prevention", "post_only"] as const;

export function Instructions({ state, instrument }: TicketProps) {
  const form = state.form.value;
  const errors = INSTRUCTION_FIELDS.map((field) => useFieldError(state, field)).filter(
    (error) => error !== null,
  );
  const mayRest = takesPostOnly(form.type, form.timeInForce);
  return (
    <div class="instructions">
      <label class="row-select">
        <span>Time in force</span>
        <select
          value={form.timeInForce}
          data-field="time_in_force"
          onChange={(event) => state.change({ timeInForce: event.currentTarget.value as TimeInForce })}
        >
          {timesInForceOf(form.type, instrument).map((each) => (
            <option key={each} value={each}>
              {TIME_IN_FORCE_WORDS[each]}
            </option>
          ))}
        </select>
      </label>
      {form.timeInForce === "gtd" ? <Expiry state={state} instrument={instrument} /> : null}
      <SelfTrade state={state} instrument={instrument} />
      {hasLimit(form.type) ? (
        <label class={`check ${mayRest ? "" : "disabled"}`}>
          <input
            type="checkbox"
            data-field="post_only"
            checked={form.postOnly}
            disabled={!mayRest}
            onChange={(event) => state.change({ postOnly: event.currentTarget.checked })}
          />
          <span>Post-only</span>
          <span class="faint">{mayRest ? "rests, or is refused" : "needs GTC or GTD"}</span>
        </label>
      ) : null}
      {errors.map((error) => (
        <p key={error} class="field-error">
          {error}
        </p>
      ))}
    </div>
  );
}

function SelfTrade({ state, instrument }: TicketProps) {
  const preventions = instrument.selfTradePrevention;
  const chosen = state.form.value.selfTradePrevention ?? preventions[0];
  return preventions.length < 2 ? null : (
    <label class="row-select">
      <span title="What happens if the order meets one of your own">Self-trade</span>
      <select
        value={chosen}
        data-field="self_trade_prevention"
        onChange={(event) =>
          state.change({ selfTradePrevention: event.currentTarget.value as SelfTradePrevention })
        }
      >
        {preventions.map((each) => (
          <option key={each} value={each}>
            {SELF_TRADE_WORDS[each]}
          </option>
        ))}
      </select>
    </label>
  );
}

const EXPIRIES = [
  { label: "1 h", milliseconds: 3_600_000 },
  { label: "1 day", milliseconds: 86_400_000 },
  { label: "1 week", milliseconds: 604_800_000 },
] as const;

function Expiry({ state }: TicketProps) {
  const error = useFieldError(state, "expires_at");
  const form = state.form.value;
  return (
    <div class={`field ${error ? "invalid" : ""}`}>
      <label class="row-select">
        <span>Expires</span>
        <input
          type="datetime-local"
          data-field="expires_at"
          value={form.expiresAt}
          min={localInputTime(Date.now())}
          aria-invalid={error !== null}
          aria-describedby={error ? "expires-error" : undefined}
          onInput={(event) => state.change({ expiresAt: event.currentTarget.value })}
          onBlur={() => state.touch("expires_at")}
        />
      </label>
      <div class="presets" role="group" aria-label="Presets of the expiry">
        {EXPIRIES.map(({ label, milliseconds }) => (
          <button
            key={label}
            type="button"
            onClick={() => state.change({ expiresAt: localInputTime(Date.now() + milliseconds) })}
          >
            {label}
          </button>
        ))}
      </div>
      {error ? (
        <p class="field-error" id="expires-error">
          {error}
        </p>
      ) : null}
    </div>
  );
}
