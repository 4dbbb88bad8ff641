/** The entry: the data layer, the view, and the element that it is drawn into. */

import "./style.css";
import { render } from "preact";
import { createStore } from "./store.ts";
import { App } from "./view/app.tsx";
import { createView } from "./view/context.ts";
import { startTheme } from "./view/theme.ts";

const root = document.getElementById("screen");
if (root) {
  startTheme();
  const store = createStore();
  // Tests and benchmarks read how many checksums were verified.
  Object.defineProperty(globalThis, "tradepost", {
    value: Object.freeze({ diagnostics: () => store.diagnostics.peek() }),
  });
  render(<App view={createView(store)} />, root);
}
