// What a query did, as a tree: which step ran where, how long it took, how much it read.
import { useState } from 'preact/hooks';
import { bytes, count } from '../lib/format';
import { humanSeconds } from '../lib/time';
import type { Explanation, PlanNode } from '../lib/types';
import { Empty } from '../parts/parts';

export function ExplainTree({ explanation }: { explanation: Explanation }) {
  const { timings, plan } = explanation;
  const all = timings.prepare + timings.queue + timings.evaluate;
  return (
    <div class="explain">
      <dl class="figures">
        <Figure name="Prepare" value={humanSeconds(timings.prepare)} />
        <Figure name="Queue" value={humanSeconds(timings.queue)} />
        <Figure name="Evaluate" value={humanSeconds(timings.evaluate)} />
        <Figure name="Together" value={humanSeconds(all)} />
        <Figure name="Memory peak" value={bytes(explanation.bytesPeak)} />
      </dl>
      {plan ? (
        <ul class="tree" role="tree" aria-label="Plan">
          <Node node={plan} whole={timings.evaluate} />
        </ul>
      ) : (
        <Empty title="Nothing had to be evaluated" />
      )}
    </div>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Node({ node, whole }: { node: PlanNode; whole: number }) {
  const [open, setOpen] = useState(true);
  const inputs = node.inputs ?? [];
  const seconds = node.seconds ?? 0;
  const share = whole > 0 ? Math.min(1, seconds / whole) : 0;
  return (
    <li role="treeitem" aria-expanded={inputs.length > 0 ? open : undefined}>
      <div class="node">
        <button type="button" class="twist" disabled={inputs.length === 0} aria-label={open ? 'Fold' : 'Unfold'} onClick={() => setOpen(!open)}>
          {inputs.length === 0 ? '·' : open ? '▾' : '▸'}
        </button>
        <div class="grow">
          <div class="row">
            <strong>{node.operator}</strong>
            <code class="break">{node.detail}</code>
            {node.place && <span class={`badge plain${node.place === 'shards' ? ' info' : ''}`}>{node.place === 'shards' ? 'in the shards' : node.place}</span>}
          </div>
          {node.sameAs !== undefined ? (
            <p class="muted small">The same as step {node.sameAs}; computed once.</p>
          ) : (
            <p class="muted small facts-line">
              <span>{count(node.series ?? 0)} series</span>
              <span>{count(node.samples ?? 0)} samples</span>
              <span>{bytes(node.bytes ?? 0)}</span>
              {node.steps && node.steps.count > 1 && <span>{count(node.steps.count)} steps of {humanSeconds(node.steps.step)}</span>}
            </p>
          )}
          {node.shards && (
            <p class="muted small facts-line">
              <span>read {count(node.shards.series)} series</span>
              <span>{count(node.shards.samples)} samples</span>
              <span>
                {count(node.shards.pagesDecoded)} pages decoded, {count(node.shards.pagesSkipped)} skipped
              </span>
              <span>{bytes(node.shards.bytesRead)}</span>
              <span>
                {humanSeconds(node.shards.seconds)} in {count(node.shards.slices)} turns
              </span>
            </p>
          )}
        </div>
        {node.sameAs === undefined && (
          <div class="time">
            <span>{humanSeconds(seconds)}</span>
            <span class="meter" aria-hidden="true">
              <i style={{ width: `${share * 100}%` }} />
            </span>
          </div>
        )}
      </div>
      {open && inputs.length > 0 && (
        <ul role="group">
          {inputs.map((input) => (
            <Node key={input.id} node={input} whole={whole} />
          ))}
        </ul>
      )}
    </li>
  );
}
