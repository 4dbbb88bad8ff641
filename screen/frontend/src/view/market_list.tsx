/** The list of instruments with prices, filtered by typing. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Instrument } from "../model.ts";
import { useView } from "./context.ts";
import { priceDecimals } from "./decimals.ts";
import { formatOrNothing, formatSigned, formatVolume, NOTHING, toneOf } from "./format.ts";
import { Icon } from "./widgets.tsx";

const SHOWN_MAX = 200;

export function MarketList() {
  const view = useView();
  const filter = useSignal("");
  const active = useSignal(0);
  const box = useRef<HTMLDivElement>(null);
  const words = filter.value.trim().toUpperCase();
  const found = view.store.instruments.value
    .filter((each) => each.symbol.toUpperCase().includes(words))
    .slice(0, SHOWN_MAX);
  const chosen = Math.min(active.value, Math.max(0, found.length - 1));
  const close = (): void => {
    view.isMarketListOpen.value = false;
    document.querySelector<HTMLElement>(".instrument-button")?.focus();
  };
  const choose = (instrument: Instrument | undefined): void => {
    if (instrument) {
      view.store.select(instrument.symbol);
      close();
    }
  };
  useCloseOutside(box, () => {
    view.isMarketListOpen.value = false;
  });
  const onKey = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      active.value = Math.max(0, Math.min(found.length - 1, chosen + step));
      document.getElementById(`market-${found[active.value]?.symbol}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      choose(found[chosen]);
    } else if (event.key === "Escape" && !event.shiftKey) {
      close();
    } else {
      return;
    }
    event.preventDefault();
  };
  return (
    <div class="market-list" ref={box}>
      <div class="search">
        <Icon name="search" />
        <input
          type="text"
          role="combobox"
          aria-label="Filter instruments"
          aria-expanded="true"
          aria-controls="markets"
          aria-autocomplete="list"
          aria-activedescendant={found[chosen] ? `market-${found[chosen].symbol}` : undefined}
          placeholder="Filter: BTC"
          autoComplete="off"
          spellcheck={false}
          value={filter.value}
          onKeyDown={onKey}
          ref={focusOnce}
          onInput={(event) => {
            filter.value = event.currentTarget.value;
            active.value = 0;
          }}
        />
      </div>
      <div class="market-head" aria-hidden="true">
        <span>Instrument</span>
        <span>Last</span>
        <span>24h</span>
        <span class="market-volume">Volume</span>
      </div>
      <div class="market-rows" role="listbox" id="markets" aria-label="Instruments">
        {found.map((each, index) => (
          <Market
            key={each.symbol}
            instrument={each}
            isActive={index === chosen}
            onChoose={() => choose(each)}
          />
        ))}
      </div>
      {found.length === 0 ? <p class="empty">No instrument has “{filter.value}” in its symbol.</p> : null}
    </div>
  );
}

function focusOnce(element: HTMLInputElement | null): void {
  if (element && !element.dataset.focused) {
    element.dataset.focused = "yes";
    element.focus();
  }
}

interface MarketProps {
  readonly instrument: Instrument;
  readonly isActive: boolean;
  readonly onChoose: () => void;
}

function Market({ instrument, isActive, onChoose }: MarketProps) {
  const { store } = useView();
  return (
    <div
      role="option"
      id={`market-${instrument.symbol}`}
      class={`market ${isActive ? "active" : ""}`}
      aria-selected={store.selected.value === instrument.symbol}
      onClick={onChoose}
    >
      <MarketFigures instrument={instrument} />
    </div>
  );
}

function MarketFigures({ instrument }: { readonly instrument: Instrument }) {
  const { slow } = useView();
  const ticker = slow.tickers.value.get(instrument.symbol);
  return (
    <>
      <span class="market-symbol">
        <b>{instrument.baseAsset}</b>
        <span class="faint">/{instrument.quoteAsset}</span>
        {instrument.isHalted ? <span class="badge badge-warn">Halted</span> : null}
      </span>
      <span>{formatOrNothing(ticker?.last, priceDecimals(instrument))}</span>
      <span class={toneOf(ticker?.change)}>
        {ticker?.changePercent ? `${formatSigned(ticker.changePercent, 2)} %` : NOTHING}
      </span>
      <span class="market-volume faint">{ticker ? formatVolume(ticker.volume) : NOTHING}</span>
    </>
  );
}

/** The instruments with prices, where there is space for them all the time. */
export function Markets() {
  const { store } = useView();
  return (
    <section class="panel markets" aria-label="Markets">
      <header class="panel-head">
        <h2>Markets</h2>
      </header>
      <div class="market-rows">
        {store.instruments.value.slice(0, SHOWN_MAX).map((each) => (
          <button
            key={each.symbol}
            type="button"
            class="market"
            aria-current={store.selected.value === each.symbol}
            onClick={() => store.select(each.symbol)}
          >
            <MarketFigures instrument={each} />
          </button>
        ))}
      </div>
    </section>
  );
}

function useCloseOutside(box: { readonly current: HTMLElement | null }, close: () => void): void {
  useEffect(() => {
    const onPointer = (event: PointerEvent): void => {
      const target = event.target;
      if (
        target instanceof Element &&
        !box.current?.contains(target) &&
        !target.closest(".instrument-button")
      ) {
        close();
      }
    };
    document.addEventListener("pointerdown", onPointer);
    return () => document.removeEventListener("pointerdown", onPointer);
  }, []);
}
