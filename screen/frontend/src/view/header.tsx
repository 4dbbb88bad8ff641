/** The line at the top: instrument, its numbers, the connection, who one is. */

import type { Connection } from "../model.ts";
import { useView } from "./context.ts";
import { priceDecimals } from "./decimals.ts";
import { formatDuration, formatOrNothing, formatSigned, formatVolume, NOTHING, toneOf } from "./format.ts";
import { MarketList } from "./market_list.tsx";
import { THEMES, theme } from "./theme.ts";
import { Icon } from "./widgets.tsx";

export function Header() {
  return (
    <header class="header">
      <span class="brand" aria-hidden="true">
        <svg viewBox="0 0 24 24" width="22" height="22">
          <path class="brand-a" d="M4 14h5v6H4z" />
          <path class="brand-b" d="M9.5 4h5v16h-5z" />
          <path class="brand-a" d="M15 9h5v11h-5z" />
        </svg>
      </span>
      <h1 class="hidden-text">Trading screen</h1>
      <InstrumentButton />
      <LastPrice />
      <TickerLine />
      <div class="header-end">
        <ConnectionState />
        <PanicButton />
        <ClientButton />
        <ThemeButton />
        <HelpButton />
      </div>
    </header>
  );
}

function InstrumentButton() {
  const view = useView();
  const isOpen = view.isMarketListOpen.value;
  return (
    <div class="instrument">
      <button
        type="button"
        class="instrument-button"
        aria-haspopup="listbox"
        aria-expanded={isOpen}
        title="Choose an instrument (/)"
        onClick={() => {
          view.isMarketListOpen.value = !isOpen;
        }}
      >
        <span class="instrument-symbol">{view.store.selected.value ?? "Loading"}</span>
        {view.instrument.value?.isHalted ? <span class="badge badge-warn">Halted</span> : null}
        <Icon name="down" />
      </button>
      {isOpen ? <MarketList /> : null}
    </div>
  );
}

function LastPrice() {
  const view = useView();
  const ticker = view.ticker.value;
  const instrument = view.instrument.value;
  const price = formatOrNothing(ticker?.last, instrument ? priceDecimals(instrument) : undefined);
  return (
    <div class="last">
      <span class={`last-price ${toneOf(ticker?.change)}`}>{price}</span>
      <span class={`last-change ${toneOf(ticker?.change)}`}>
        {ticker?.changePercent ? `${formatSigned(ticker.changePercent, 2)} %` : NOTHING}
      </span>
    </div>
  );
}

function TickerLine() {
  const view = useView();
  const ticker = view.ticker.value;
  const instrument = view.instrument.value;
  const decimals = instrument ? priceDecimals(instrument) : undefined;
  return (
    <dl class="ticker">
      <Figure
        name="24h change"
        tone={toneOf(ticker?.change)}
        value={ticker?.change ? formatSigned(ticker.change, decimals) : NOTHING}
      />
      <Figure name="24h high" value={formatOrNothing(ticker?.high, decimals)} />
      <Figure name="24h low" value={formatOrNothing(ticker?.low, decimals)} />
      <Figure
        name={`24h volume, ${instrument?.baseAsset ?? ""}`}
        value={ticker ? formatVolume(ticker.volume) : NOTHING}
      />
    </dl>
  );
}

function Figure({
  name,
  value,
  tone = "",
}: {
  readonly name: string;
  readonly value: string;
  readonly tone?: string;
}) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd class={tone}>{value}</dd>
    </div>
  );
}

const CONNECTION_WORDS: Record<Connection["state"], string> = {
  connecting: "Connecting",
  open: "Live",
  waiting: "Reconnecting",
  offline: "Offline",
};

function ConnectionState() {
  const { store, slow } = useView();
  const connection = slow.connection.value;
  const isStale = store.isStale.value;
  const state = connection.state === "open" && isStale ? "stale" : connection.state;
  const words = state === "stale" ? "Stale" : CONNECTION_WORDS[connection.state];
  const times = [
    connection.roundTripMs === null
      ? null
      : `Round trip of the last ping: ${formatDuration(connection.roundTripMs)}.`,
    connection.latenessMs === null
      ? null
      : `Market data arrives ${formatDuration(connection.latenessMs)} late.`,
  ];
  const details = [connection.message, ...times].filter((each) => each !== null).join(" ");
  return (
    <div
      class={`connection connection-${state}`}
      title={details}
      role="group"
      aria-label={`Connection: ${words}. ${details}`}
    >
      <i class="dot" aria-hidden="true" />
      <span class="connection-words">{words}</span>
      {connection.state === "open" ? (
        <span class="connection-times" aria-hidden="true">
          <span title="Round trip">
            ↔ {connection.roundTripMs === null ? NOTHING : formatDuration(connection.roundTripMs)}
          </span>
          <span title="Lateness of market data">
            late {connection.latenessMs === null ? NOTHING : formatDuration(connection.latenessMs)}
          </span>
        </span>
      ) : null}
    </div>
  );
}

function PanicButton() {
  const view = useView();
  const count = view.store.openOrders.value.length;
  return (
    <button
      type="button"
      class="button button-danger panic"
      disabled={count === 0}
      title="Cancel everything in all instruments (Shift+Escape: at once)"
      onClick={() => {
        view.cancelScope.value = null;
        view.dialog.value = "cancel_all";
      }}
    >
      Cancel all<span class="count">{count}</span>
    </button>
  );
}

function ClientButton() {
  const view = useView();
  const client = view.store.client.value;
  return (
    <button
      type="button"
      class={`button client ${client === "" ? "client-nobody" : ""}`}
      title="Who trades here"
      aria-label={client === "" ? "Choose a name" : `You are ${client}. Choose another name`}
      onClick={() => {
        view.dialog.value = "client";
      }}
    >
      <Icon name="user" />
      <span class="client-name">{client === "" ? "Choose a name" : client}</span>
    </button>
  );
}

const THEME_ICONS = { system: "screen", dark: "moon", light: "sun" } as const;

function ThemeButton() {
  const now = theme.value;
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] ?? "system";
  const words = now === "system" ? "as the system has it" : now;
  return (
    <button
      type="button"
      class="icon-button theme-button"
      title={`Theme: ${words}`}
      aria-label={`Theme: ${words}. Change to ${next}`}
      onClick={() => {
        theme.value = next;
      }}
    >
      <Icon name={THEME_ICONS[now]} />
    </button>
  );
}

function HelpButton() {
  const view = useView();
  return (
    <button
      type="button"
      class="icon-button help-button"
      title="Keyboard shortcuts (?)"
      aria-label="Keyboard shortcuts"
      onClick={() => {
        view.dialog.value = "shortcuts";
      }}
    >
      <span aria-hidden="true">?</span>
    </button>
  );
}
