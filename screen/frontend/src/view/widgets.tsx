/** Parts that several places of the screen use: tabs, dialogs, icons. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export interface TabItem<Key extends string> {
  readonly key: Key;
  readonly label: ComponentChildren;
}

interface TabsProps<Key extends string> {
  readonly label: string;
  readonly items: readonly TabItem<Key>[];
  readonly chosen: Key;
  /** Ids are `PREFIX-tab-KEY` for tabs and `PREFIX-panel` for the panel that they control. */
  readonly prefix: string;
  readonly onChoose: (key: Key) => void;
}

const STEPS: Readonly<Record<string, number>> = { ArrowRight: 1, ArrowLeft: -1 };

/** A list of tabs. The arrow keys, Home and End move between them. */
export function Tabs<Key extends string>({ label, items, chosen, prefix, onChoose }: TabsProps<Key>) {
  const list = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent): void => {
    const now = items.findIndex((item) => item.key === chosen);
    const step = STEPS[event.key];
    const next =
      event.key === "Home"
        ? 0
        : event.key === "End"
          ? items.length - 1
          : step === undefined
            ? -1
            : (now + step + items.length) % items.length;
    const item = items[next];
    if (item) {
      event.preventDefault();
      onChoose(item.key);
      list.current?.querySelectorAll<HTMLElement>("[role=tab]")[next]?.focus();
    }
  };
  return (
    <div ref={list} class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {items.map(({ key, label: text }) => (
        <button
          key={key}
          type="button"
          role="tab"
          class="tab"
          id={`${prefix}-tab-${key}`}
          aria-selected={key === chosen}
          aria-controls={`${prefix}-panel`}
          tabIndex={key === chosen ? 0 : -1}
          onClick={() => onChoose(key)}
        >
          {text}
        </button>
      ))}
    </div>
  );
}

interface ChoiceProps<Key extends string> {
  readonly label: string;
  readonly name: string;
  readonly items: readonly TabItem<Key>[];
  readonly chosen: Key;
  readonly class?: string;
  readonly onChoose: (key: Key) => void;
}

/** Radio buttons that look like one segmented control. */
export function Choice<Key extends string>({
  label,
  name,
  items,
  chosen,
  onChoose,
  ...rest
}: ChoiceProps<Key>) {
  return (
    <div class={`choice ${rest.class ?? ""}`} role="radiogroup" aria-label={label}>
      {items.map(({ key, label: text }) => (
        <label key={key} class={`choice-item ${key === chosen ? "chosen" : ""}`} data-key={key}>
          <input
            type="radio"
            name={name}
            value={key}
            checked={key === chosen}
            onChange={() => onChoose(key)}
          />
          <span>{text}</span>
        </label>
      ))}
    </div>
  );
}

interface DialogProps {
  readonly title: string;
  readonly children: ComponentChildren;
  readonly onClose: () => void;
}

/** A modal dialog. Escape and a click beside it close it. */
export function Dialog({ title, children, onClose }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    element.current?.querySelector<HTMLElement>("[data-autofocus]")?.focus();
    return () => {
      // The browser does not give the focus back if a dialog is removed while it is open.
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const closeBeside = (event: MouseEvent): void => {
    if (event.target === element.current) {
      onClose();
    }
  };
  return (
    <dialog
      ref={element}
      class="dialog"
      aria-labelledby="dialog-title"
      onClose={onClose}
      onClick={closeBeside}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id="dialog-title">{title}</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

const ICONS = {
  close: "M4 4l8 8M12 4l-8 8",
  down: "M4 6l4 4 4-4",
  edit: "M3 13l.6-2.6L10.8 3.2l2 2-7.2 7.2L3 13z",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 1 0 0-5.6M8 1.5V3M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1 1M11.6 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1",
  screen: "M2 3.5h12v7.5H2zM6 13.5h4",
  user: "M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8zM3 13.5c.4-2.6 2.4-4 5-4s4.6 1.4 5 4",
  market: "M4.5 2v2.5M4.5 10v3M3 4.5h3V10H3zM11 3v3.5M11 11v3M9.5 6.5h3V11h-3z",
  trade: "M3 6h9.5M10 3.5L12.5 6M13 10H3.5M6 7.5L3.5 10 6 12.5",
  orders: "M3 4h10M3 8h10M3 12h6",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9M10.3 10.3L14 14",
} as const;

/** A line icon. It has no name for screen readers: its button has. */
export function Icon({ name }: { readonly name: keyof typeof ICONS }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={ICONS[name]} />
    </svg>
  );
}

/** What a list says if it is empty. */
export function Empty({ children }: { readonly children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}
