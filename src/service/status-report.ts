import type { SlotSnapshot } from '../engine/model-slot.js';
import { VERSION } from '../util/version.js';
import { STATUS_SCHEMA_VERSION, type Status } from './status.js';

/** What the daemon knows of itself at one moment. Times are ms since the epoch. */
interface StatusFacts {
  state: Status['state'];
  startedAt: number;
  home: string;
  door: { mode: Status['mode']; url: string; coordinatorUrl: string };
  link: {
    state: { name: Status['connection']['state']; attempt?: number };
    since: number;
    lastLoss: string | undefined;
  };
  /** What the coordinator said of this machine; `undefined`: nothing yet. */
  view:
    | {
        runtimeVerified?: boolean;
        mismatches?: string[];
        trustLevel?: string;
        trustStatus?: string;
        trustReason?: string;
      }
    | undefined;
  slots: readonly SlotSnapshot[];
  /** `missingFile`: its file when that is not there any more. */
  models: readonly { id: string; alias: string; missingFile?: string | undefined }[];
  memory: { limitBytes: number; usedBytes: number };
  /** Answers since the start, through every door. */
  served: { requests: number; tokens: number };
  tokensPerSecond: number[];
  errors: Status['errors'];
}

/** These facts as `status` tells them. Pure. */
export function statusReport(facts: StatusFacts): Status {
  const { door, link, slots, memory, served } = facts;
  return {
    schema_version: STATUS_SCHEMA_VERSION,
    version: VERSION,
    pid: process.pid,
    started_at: new Date(facts.startedAt).toISOString(),
    state: facts.state,
    mode: door.mode,
    base_url: `${door.url}/v1`,
    home: facts.home,
    connection: {
      state: link.state.name,
      coordinator_url: door.coordinatorUrl,
      since: new Date(link.since).toISOString(),
      ...(link.lastLoss === undefined ? {} : { last_loss: link.lastLoss }),
      ...(link.state.attempt === undefined ? {} : { attempt: link.state.attempt }),
    },
    ...(facts.view === undefined ? {} : { trust: trustOf(facts.view) }),
    models: slots.map((slot) => modelStatus(slot, facts.models)),
    memory: { limit_bytes: memory.limitBytes, used_bytes: memory.usedBytes },
    requests: {
      running: slots.reduce((sum, { running }) => sum + running, 0),
      waiting: slots.reduce((sum, { waiting }) => sum + waiting, 0),
      served: served.requests,
      tokens_generated: served.tokens,
    },
    tokens_per_second: facts.tokensPerSecond,
    errors: facts.errors,
  };
}

function trustOf(view: NonNullable<StatusFacts['view']>): NonNullable<Status['trust']> {
  const { runtimeVerified, mismatches, trustLevel, trustStatus, trustReason } = view;
  return {
    ...(runtimeVerified === undefined ? {} : { runtime_verified: runtimeVerified }),
    ...(mismatches === undefined ? {} : { mismatches }),
    ...(trustLevel === undefined ? {} : { level: trustLevel }),
    ...(trustStatus === undefined ? {} : { status: trustStatus }),
    ...(trustReason === undefined ? {} : { reason: trustReason }),
  };
}

function modelStatus(slot: SlotSnapshot, models: StatusFacts['models']): Status['models'][number] {
  const { alias = slot.id, missingFile } = models.find(({ id }) => id === slot.id) ?? {};
  return {
    alias,
    build: slot.id,
    state: slot.state,
    ...(missingFile === undefined ? {} : { missing_file: missingFile }),
    memory_bytes: slot.bytes,
    memory_measured: slot.isMeasured,
    memory_predicted: {
      weights_bytes: slot.predicted.weightBytes,
      cache_bytes: slot.predicted.kvBytes,
      compute_bytes: slot.predicted.computeBytes,
    },
    kept: slot.pinned,
    ...(slot.unloadsAt === undefined ? {} : { unloads_at: new Date(slot.unloadsAt).toISOString() }),
    context_tokens: slot.contextTokens,
    slots: slot.rows,
    running: slot.running,
    waiting: slot.waiting,
    ...(slot.decodeTps === undefined ? {} : { decode_tps: slot.decodeTps }),
    ...(slot.prefillTps === undefined ? {} : { prefill_tps: slot.prefillTps }),
  };
}
