/** What the browser remembers between visits: client, instrument, interval and theme.
 *
 * Storage may be missing, full or forbidden. Then the screen works and remembers nothing.
 */

const PREFIX = "screen.";

export type Remembered = "client" | "instrument" | "interval" | "theme";

export function recall(name: Remembered): string {
  try {
    return localStorage.getItem(PREFIX + name) ?? "";
  } catch {
    return "";
  }
}

export function remember(name: Remembered, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // The choice holds until the page is closed.
  }
}
