import assert from "node:assert/strict";
import { test } from "node:test";
import type { AmendRequest, Instrument, Order, Store, Submission } from "../src/model.ts";
import { OrderEdit } from "../src/view/order_edit.ts";
import { orderOf } from "../src/wire.ts";
import { orderRow } from "./rows.ts";

const INSTRUMENT = {
  tickSize: "1",
  lotSize: "1",
  minPrice: "1",
  maxPrice: "1000",
  minQuantity: "1",
  maxQuantity: "100",
} as unknown as Instrument;

test("an amend has what was typed, and not what others changed meanwhile", async () => {
  Object.assign(globalThis, { document: { activeElement: null, body: {} } });
  const sent: AmendRequest[] = [];
  const store = {
    amend: async (_order: Order, changes: AmendRequest) => {
      sent.push(changes);
      return { problem: null } as Submission;
    },
  } as unknown as Store;
  const edit = new OrderEdit(store);
  edit.start(orderOf(orderRow({ price: 91, quantity: 10 })));
  edit.type("price", "92");
  await edit.amend(orderOf(orderRow({ price: 91, quantity: 5 })), INSTRUMENT);
  assert.deepEqual(sent, [{ price: "92" }]);
});
