import type { LoopResult } from './closed-loop.js';

/** What the coordinator's suite measures, each in a process of its own. */
export type PartOrder =
  | { part: 'coordinator'; database: string }
  | { part: 'machines'; coordinatorUrl: string; linkTokens: string[] }
  | { part: 'bare' }
  | { part: 'load' };
export type PartReport = { type: 'ready'; url: string } | { type: 'ran'; result: LoopResult };

/** The name that the load asks for. */
export const BENCH_ALIAS = 'null';
/** The most that a coordinator believes of one machine. */
export const MACHINE_ROWS = 24;
