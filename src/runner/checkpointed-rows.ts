import { CHECKPOINTS_PER_ROW } from '../inference/footprint.js';
import type { Checkpoint, Checkpoints } from './checkpoints.js';
import { BLOCK_TOKENS, commonLength } from './prefix-index.js';
import { chooseRow } from './row-choice.js';
import { emptyRows, type Claim, type Row, type RowKeeper, type Wanted } from './row.js';
import type { Runtime } from './runtime.js';

/** The beginning of an answer, as a template opens it, is at most so long. In the next turn it is often written otherwise:
 *  thoughts are left out. */
const OPENING_TOKENS = 16;
/** Marks nearer to each other than this are one: each costs a pass over the model, and memory. */
const WORTH_TOKENS = 2 * BLOCK_TOKENS;

/**
 * The rows of a model that cannot be cut anywhere: its recurrent layers know only the end of what they read, and its window
 * has forgotten the beginning. What such layers hold is copied out at some places of a prompt, and put back when another
 * prompt is the same up to there; what the other layers hold is still in the row, and is cut. So a prefix serves in the row
 * that it was read in, and in any that has read the same since. Rows are neither copied nor moved: the copy of a window is
 * there only after the next step.
 */
export class CheckpointedRows implements RowKeeper {
  readonly hasGap = false;
  readonly #runtime: Runtime;
  readonly #rows: readonly Row[];
  readonly #checkpoints: Checkpoints;
  #uses = 0;

  constructor(runtime: Runtime, checkpoints: Checkpoints) {
    this.#runtime = runtime;
    this.#rows = emptyRows(runtime.facts.rows);
    this.#checkpoints = checkpoints;
  }

  async claim({ prompt, scope, headTokens }: Wanted): Promise<Claim> {
    const wanted = prompt.slice(0, -1);
    const home = scope === undefined ? undefined : this.#home(wanted, scope);
    const row = home?.row ?? this.#another();
    if (row === undefined) throw new Error('The engine sent more requests than there are rows.');
    const shared = this.#mostShared(wanted, scope);

    row.busy = true;
    try {
      const reused = home === undefined ? 0 : await this.#goBack(home);
      this.#runtime.cut(row.id, reused);
      this.#hold(row, wanted.slice(0, reused), scope);
      row.marks = scope === undefined ? [] : marksOf([headTokens, shared, prompt.length - OPENING_TOKENS], reused);
      return { row, reused };
    } catch (error) {
      this.release(row, true);
      throw error;
    }
  }

  reusable(prompt: readonly number[], scope: string): number {
    return this.#home(prompt.slice(0, -1), scope)?.length ?? 0;
  }

  grow(row: Row, tokens: readonly number[]): void {
    row.tokens.push(...tokens);
  }

  async keepMarked(): Promise<void> {
    for (const row of this.#rows) {
      if (row.marks[0] !== row.tokens.length) continue;
      row.marks.shift();
      await this.#keep(row);
    }
  }

  release(row: Row, broken: boolean): void {
    row.busy = false;
    row.marks = [];
    row.lastUsed = ++this.#uses;
    if (!broken && row.scope !== undefined && row.tokens.length >= BLOCK_TOKENS) return;
    this.#hold(row, [], undefined);
    this.#runtime.cut(row.id, 0);
  }

  compact(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** The free row that can go back, or go on, to most of these tokens; of equals, the one that loses least. None where
   *  more would be lost than is won and another row is empty. */
  #home(wanted: readonly number[], scope: string): Home | undefined {
    const homes = this.#rows
      .filter((row) => !row.busy && row.scope === scope)
      .map((row) => this.#reach(row, scope, commonLength(row.tokens, wanted)))
      .filter(({ length }) => length >= BLOCK_TOKENS)
      .sort((a, b) => b.length - a.length || a.row.tokens.length - b.row.tokens.length);
    const [best] = homes;
    if (best === undefined) return undefined;
    const losesMuch = best.row.tokens.length - best.length > best.length;
    return losesMuch && this.#rows.some((row) => !row.busy && row.tokens.length === 0) ? undefined : best;
  }

  /** How much of its first `common` tokens a row can keep. */
  #reach(row: Row, scope: string, common: number): Home {
    if (common === row.tokens.length) return { row, length: common, checkpoint: undefined };
    const checkpoint = this.#checkpoints.within(scope, row.tokens.slice(0, common)).at(-1);
    return { row, length: checkpoint?.tokens.length ?? 0, checkpoint };
  }

  #another(): Row | undefined {
    const views = this.#rows.map(({ id, busy, tokens, lastUsed }) => ({ id, busy, keeps: tokens.length, lastUsed }));
    const chosen = chooseRow(views, undefined);
    return this.#rows.find(({ id }) => id === chosen);
  }

  /** The longest beginning that a row holds of a prompt, whether or not it can go back to there. */
  #mostShared(wanted: readonly number[], scope: string | undefined): number {
    const inScope = this.#rows.filter((row) => row.scope === scope);
    return Math.max(0, ...inScope.map(({ tokens }) => commonLength(tokens, wanted)));
  }

  /** Returns how many tokens the row has kept: all that were hoped for, or none. */
  async #goBack({ row, length, checkpoint }: Home): Promise<number> {
    if (checkpoint === undefined) return length;
    if (await checkpoint.saved.restore(row.id).catch(() => false)) {
      this.#checkpoints.touch(checkpoint);
      return length;
    }
    this.#checkpoints.drop(checkpoint); // the prompt is read again
    return 0;
  }

  /** A copy that cannot be had makes no request fail: the prefix is read again when it is wanted. */
  async #keep({ id, scope, tokens }: Row): Promise<void> {
    if (scope === undefined || !this.#checkpoints.fits) return;
    const known = this.#checkpoints.within(scope, tokens);
    const same = known.find((each) => each.tokens.length === tokens.length);
    if (same !== undefined) return this.#checkpoints.touch(same);
    const saved = await this.#runtime.save(id, tokens.length).catch(() => undefined);
    if (saved === undefined) return;
    const former = known.length < CHECKPOINTS_PER_ROW ? undefined : known.at(-1);
    if (former !== undefined) this.#checkpoints.drop(former);
    this.#checkpoints.put({ scope, tokens }, saved);
  }

  #hold(row: Row, tokens: number[], scope: string | undefined): void {
    row.tokens = tokens;
    row.scope = scope;
    this.#checkpoints.keepOnlyFor(this.#rows);
  }
}

/** A free row and what it can keep of a prompt. */
interface Home {
  row: Row;
  length: number;
  /** Where it has to go back to; absent: it goes on where it is. */
  checkpoint: Checkpoint | undefined;
}

/** The places that are far enough from `reused` and from each other. */
function marksOf(places: readonly number[], reused: number): number[] {
  const marks: number[] = [];
  for (const place of [...places].sort((a, b) => a - b))
    if (place - (marks.at(-1) ?? reused) >= WORTH_TOKENS) marks.push(place);
  return marks;
}
