/** Dark, light or as the system has it. The choice is remembered. */

import { computed, effect, signal } from "@preact/signals";
import { recall, remember } from "../memory.ts";

export const THEMES = ["system", "dark", "light"] as const;
export type Theme = (typeof THEMES)[number];

const systemIsLight = matchMedia("(prefers-color-scheme: light)");
const systemTheme = signal<"dark" | "light">(systemIsLight.matches ? "light" : "dark");
const remembered = recall("theme");

export const theme = signal<Theme>(remembered === "dark" || remembered === "light" ? remembered : "system");

const drawnTheme = computed(() => (theme.value === "system" ? systemTheme.value : theme.value));

/** The theme that the root element has. What reads colours from the page must follow this signal:
 * when it changes, the colours have changed. */
export const paintedTheme = signal<"dark" | "light" | null>(null);

/** Follow the system's theme, and write the drawn theme on the root element. */
export function startTheme(): void {
  systemIsLight.addEventListener("change", () => {
    systemTheme.value = systemIsLight.matches ? "light" : "dark";
  });
  effect(() => {
    document.documentElement.dataset.theme = drawnTheme.value;
    paintedTheme.value = drawnTheme.value;
    remember("theme", theme.value);
  });
}

/** Return the colours of the theme by the names of their CSS variables, as canvases need them. */
export function readColours<Name extends string>(names: readonly Name[]): Record<Name, string> {
  const probe = document.createElement("i");
  document.body.append(probe);
  const colours = {} as Record<Name, string>;
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}
