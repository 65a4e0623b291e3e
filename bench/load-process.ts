import { setPriority } from 'node:os';
import { drive } from './drive.js';
import { HttpTarget } from './http-target.js';
import type { Plan, Recording } from './plan.js';
import { RawTarget } from './raw-target.js';
import { RunnerTarget } from './runner-target.js';
import type { Target, TargetSpec } from './target.js';

/**
 * The load generator: a process of its own with a low priority, so that it takes little from what it measures. The
 * runtime itself, measured raw, lives here too, and keeps the normal priority.
 */

export type LoadOrder = { type: 'open'; spec: TargetSpec } | { type: 'drive'; plan: Plan };
export type LoadReport =
  { type: 'opened' } | { type: 'recorded'; recording: Recording } | { type: 'failed'; reason: string };

/** Of 19; the higher, the later its turn. */
const NICENESS = 5;

let target: Target | undefined;

process.on('message', (order: LoadOrder) => void obey(order));
process.on('disconnect', () => void end());
process.on('SIGINT', () => undefined); // the parent decides

async function obey(order: LoadOrder): Promise<void> {
  try {
    if (order.type === 'open') {
      target = await open(order.spec);
      report({ type: 'opened' });
    } else if (target !== undefined) {
      report({ type: 'recorded', recording: await drive(order.plan, target) });
    }
  } catch (error) {
    report({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
  }
}

async function open(spec: TargetSpec): Promise<Target> {
  switch (spec.kind) {
    case 'raw':
      return RawTarget.start(spec.model);
    case 'runner': {
      const runner = await RunnerTarget.start(spec.model);
      setPriority(NICENESS); // only now: a child has the priority that its parent had when it was born
      return runner;
    }
    case 'http':
      setPriority(NICENESS);
      return new HttpTarget(spec);
    default:
      return spec satisfies never;
  }
}

function report(message: LoadReport): void {
  process.send?.(message);
}

async function end(): Promise<void> {
  await target?.close();
  process.exit(0);
}
