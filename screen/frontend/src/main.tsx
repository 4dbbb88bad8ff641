import "./style.css";
import { render } from "preact";

const root = document.getElementById("screen");
if (root) {
  render(<main>Exchange</main>, root);
}
