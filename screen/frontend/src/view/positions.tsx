/** Positions from the client's fills, with profit. */

import type { Decimal, Position } from "../model.ts";
import { useView } from "./context.ts";
import { priceDecimals, sumDecimals } from "./decimals.ts";
import { formatOrNothing, formatSigned, formatWhen, NOTHING, toneOf } from "./format.ts";
import { Empty } from "./widgets.tsx";

export function Positions() {
  const positions = useView().slow.positions.value;
  if (positions.length === 0) {
    return (
      <Empty>
        No positions. What your fills add up to is shown here, with profit and loss at the last price.
      </Empty>
    );
  }
  return (
    <table class="table">
      <thead>
        <tr>
          <th scope="col">Instrument</th>
          <th scope="col" class="number">
            Position
          </th>
          <th scope="col" class="number">
            Average price
          </th>
          <th scope="col" class="number">
            Last price
          </th>
          <th scope="col" class="number">
            Unrealized
          </th>
          <th scope="col" class="number">
            Realized
          </th>
          <th scope="col" class="number">
            Profit
          </th>
        </tr>
      </thead>
      <tbody>
        {positions.map((position) => (
          <PositionRow key={position.symbol} position={position} />
        ))}
      </tbody>
    </table>
  );
}

function PositionRow({ position }: { readonly position: Position }) {
  const { store, slow } = useView();
  const instrument = store.instruments.value.find((each) => each.symbol === position.symbol);
  const decimals = instrument ? priceDecimals(instrument) : undefined;
  const last = slow.tickers.value.get(position.symbol)?.last;
  const profit =
    position.unrealizedProfit === null
      ? null
      : sumDecimals(position.realizedProfit, position.unrealizedProfit);
  return (
    <tr>
      <th scope="row">
        <button type="button" class="link" onClick={() => store.select(position.symbol)}>
          {position.symbol}
        </button>
        {position.since === null ? null : (
          <span class="badge" title="Older fills are not counted">
            since {formatWhen(position.since)}
          </span>
        )}
      </th>
      <td class={`number ${toneOf(position.quantity)}`} data-name="Position">
        {formatSigned(position.quantity)} <span class="faint">{instrument?.baseAsset}</span>
      </td>
      <td class="number" data-name="Average">
        {formatOrNothing(position.averagePrice, decimals)}
      </td>
      <td class="number" data-name="Last">
        {formatOrNothing(last, decimals)}
      </td>
      <ProfitCell name="Unrealized" value={position.unrealizedProfit} />
      <ProfitCell name="Realized" value={position.realizedProfit} />
      <ProfitCell name="Profit" value={profit} />
    </tr>
  );
}

function ProfitCell({ name, value }: { readonly name: string; readonly value: Decimal | null }) {
  return (
    <td class={`number ${toneOf(value)}`} data-name={name}>
      {value === null ? NOTHING : formatSigned(value, 2)}
    </td>
  );
}
