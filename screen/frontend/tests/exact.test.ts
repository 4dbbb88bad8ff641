import assert from "node:assert/strict";
import { test } from "node:test";
import {
  compare,
  divideRounded,
  exact,
  formatDecimal,
  fromSteps,
  Grid,
  notional,
  parseDecimal,
  parseExact,
  round,
  sizeOf,
  textOfNumber,
  toSteps,
  toText,
} from "../src/exact.ts";
import type { Decimal } from "../src/model.ts";
import { decimal, object, parseJson } from "../src/wire.ts";

const grid = (size: string) => sizeOf(size as Decimal);
const d = (text: string) => text as Decimal;

test("steps and text are each other's inverse, with all decimals of the size", () => {
  assert.equal(toSteps("70150.5", grid("0.01")), 7015050n);
  assert.equal(fromSteps(7015050n, grid("0.01")), "70150.50");
  assert.equal(toSteps("0.00000001", grid("0.00000001")), 1n);
  assert.equal(fromSteps(-1n, grid("0.00000001")), "-0.00000001");
  assert.equal(fromSteps(3n, grid("5")), "15");
  assert.equal(toSteps("70150.5", grid("0.5")), 140301n);
});

test("what is off the grid or no plain decimal has no steps", () => {
  for (const text of ["70150.505", "1e3", "", " 1", "1,000", "+1", ".5", "5.", "NaN", "0x10", "١"]) {
    assert.equal(toSteps(text, grid("0.01")), null, text);
  }
  assert.equal(toSteps("12", grid("5")), null);
  assert.equal(toSteps("1.2500", grid("0.01")), 125n, "trailing zeros are no digits");
  assert.equal(parseExact("9".repeat(31)), null);
  assert.equal(parseExact(`1.${"9".repeat(31)}`), null);
});

test("numbers beyond a double stay exact", () => {
  const big = "123456789012345678901234567890.000000000000000000000000000001";
  assert.equal(toText(exact(big)), big);
  assert.equal(formatDecimal("123456789012345678.9"), "123,456,789,012,345,678.9");
  assert.equal(compare(exact("0.1"), exact("0.10")), 0);
  assert.equal(notional(d("70150.50"), d("0.10000001")), "7015.050701505");
});

test("rounding is half to even, also below zero", () => {
  assert.deepEqual(
    [5n, 15n, 25n, -5n, -15n, -26n].map((n) => divideRounded(n, 10n)),
    [0n, 2n, 2n, 0n, -2n, -3n],
  );
  assert.equal(divideRounded(7n, -2n), -4n);
  assert.equal(toText(round(exact("1.005"), 2)), "1.00");
  assert.equal(toText(round(exact("1"), 2)), "1.00");
});

test("people see separators", () => {
  assert.equal(formatDecimal("-1234567.5", 2), "-1,234,567.50");
  assert.equal(formatDecimal("999"), "999");
  assert.equal(formatDecimal("1000"), "1,000");
  assert.equal(formatDecimal("what"), "what");
});

test("a grid has the ticks and lots of an instrument, and texts without trailing zeros", () => {
  const btc = new Grid(d("0.01"), d("0.00000001"));
  assert.equal(btc.ticks("70150.5"), 7015050n);
  assert.equal(btc.ticks("70150.505"), null);
  assert.equal(btc.price(7015050n), "70150.5");
  assert.equal(btc.quantity(btc.lots("0.10") as bigint), "0.1");
  assert.equal(btc.price(0n), "0");
});

test("what a person types is read leniently, and never guessed", () => {
  const typed = [" 1.50 ", ".5", "5.", "+2", "-0", "007"];
  assert.deepEqual(typed.map(parseDecimal), ["1.5", "0.5", "5", "2", "0", "7"]);
  for (const text of ["", ".", "-", "1,5", "1 000", "1e3", "--1", "9".repeat(40)]) {
    assert.equal(parseDecimal(text), null, text);
  }
});

test("JSON keeps every digit, short and long, and strings that look like numbers", () => {
  const row = object(
    parseJson(
      '{"a":0.00000001,"b":70150.5,"c":123456789012.123456789012,"d":-0.1,"e":12345678901234567890,' +
        '"f":"say \\"1234567890.1234567890\\" \\\\","g":[1234567890123456.5],"h":100}',
    ),
  );
  assert.equal(decimal(row["a"]), "0.00000001");
  assert.equal(decimal(row["b"]), "70150.5");
  assert.equal(decimal(row["c"]), "123456789012.123456789012");
  assert.equal(decimal(row["d"]), "-0.1");
  assert.equal(decimal(row["e"]), "12345678901234567890");
  assert.equal(row["f"], 'say "1234567890.1234567890" \\');
  assert.deepEqual(row["g"], ["1234567890123456.5"]);
  assert.equal(decimal(row["h"]), "100");
});

test("every decimal of at most 15 characters survives JSON.parse", () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return seed % below;
  };
  for (let round = 0; round < 20_000; round += 1) {
    const decimals = random(13);
    const digits = String(random(2 ** 31))
      .slice(0, 1 + random(10))
      .padStart(decimals + 1, "0");
    const point = digits.length - decimals;
    const written = decimals ? `${digits.slice(0, point)}.${digits.slice(point)}` : digits;
    const text = toText(exact(written))
      .replace(/(\.\d*?)0+$/, "$1")
      .replace(/\.$/, "")
      .replace(/^0+(?=\d)/, "");
    assert.equal(decimal(parseJson(text)), text);
  }
  assert.equal(textOfNumber(1.5e21), "1500000000000000000000");
  assert.equal(textOfNumber(-1.25e-7), "-0.000000125");
});
