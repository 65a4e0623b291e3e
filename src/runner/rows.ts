import type { Runtime, SavedRow } from './runtime.js';
import { BLOCK_TOKENS, PrefixIndex, type Cached, type Match } from './prefix-index.js';
import type { PrefixStore, Stored } from './prefix-store.js';
import { emptyRows, type Claim, type Row, type RowKeeper, type Wanted } from './row.js';
import { chooseRow, compactingMove, type RowView } from './row-choice.js';

/** Shorter prefixes are read again rather than kept elsewhere when their row is needed. */
const KEPT_TOKENS = 4 * BLOCK_TOKENS;

/** The rows of a model that can be cut after any token: any beginning of what one holds serves, in any row. */
export class Rows implements RowKeeper {
  readonly #runtime: Runtime;
  readonly #rows: readonly Row[];
  readonly #index = new PrefixIndex<Row & Cached>();
  readonly #store: PrefixStore;
  #uses = 0;

  constructor(runtime: Runtime, store: PrefixStore) {
    this.#runtime = runtime;
    this.#store = store;
    this.#rows = emptyRows(runtime.facts.rows);
  }

  async claim({ prompt, scope }: Wanted): Promise<Claim> {
    const wanted = prompt.slice(0, -1);
    const { match, stored } = this.#find(wanted, scope);
    const home = match?.entry.busy === false ? match.entry : undefined;
    const chosen = chooseRow(this.#views(match), home?.id);
    const row = this.#rows.find(({ id }) => id === chosen);
    if (row === undefined) throw new Error('The engine sent more requests than there are rows.');

    row.busy = true;
    try {
      const reused = await this.#fill(row, match, stored);
      this.#runtime.cut(row.id, reused);
      this.#hold(row, wanted.slice(0, reused), scope);
      return { row, reused };
    } catch (error) {
      this.release(row, true);
      throw error;
    }
  }

  reusable(prompt: readonly number[], scope: string): number {
    const { match, stored } = this.#find(prompt.slice(0, -1), scope);
    return Math.max(match?.length ?? 0, stored?.length ?? 0);
  }

  #find(wanted: readonly number[], scope: string | undefined) {
    if (scope === undefined) return { match: undefined, stored: undefined };
    return { match: this.#bestMatch(scope, wanted), stored: this.#store.longest(scope, wanted) };
  }

  /** Brings what is known of the prompt into the row. Returns for how many tokens that went well. */
  async #fill(row: Row, match: Match<Row> | undefined, stored: Match<Stored> | undefined): Promise<number> {
    if (stored !== undefined && stored.length > (match?.length ?? 0)) {
      if (await this.#swap(row, stored)) return stored.length;
      if (match?.entry === row) return 0;
    }
    if (match?.entry === row) {
      if (losesMuch(match)) await this.#evict(row);
      return match.length;
    }
    await this.#evict(row);
    if (match === undefined) return 0;
    const { entry, length } = match;
    await this.#runtime.copy(entry.id, row.id);
    if (!entry.busy && !losesMuch(match)) this.#clear(entry); // the conversation has moved
    return length;
  }

  /** Brings a stored prefix into the row, and only then what the row held into the store: it must not drive out what is
   *  about to come back. Returns whether that went well; if not, the row is empty. */
  async #swap(row: Row, stored: Match<Stored>): Promise<boolean> {
    const { entry } = stored;
    const leaving = this.#worthKeeping(row) ? await this.#save(row) : undefined;
    const restored = await entry.saved.restore(row.id).catch(() => false); // then it is read again
    if (restored && losesMuch(stored)) this.#store.touch(entry);
    else this.#store.drop(entry); // the row has it now, or nobody can
    if (leaving !== undefined) this.#store.put(leaving.held, leaving.saved);
    if (!restored) this.#clear(row);
    return restored;
  }

  grow(row: Row, tokens: readonly number[]): void {
    row.tokens.push(...tokens);
    if (isScoped(row)) this.#index.update(row);
  }

  /** Rows are copied out whole, when they are needed for something else. */
  keepMarked(): Promise<void> {
    return Promise.resolve();
  }

  release(row: Row, broken: boolean): void {
    row.busy = false;
    row.lastUsed = ++this.#uses;
    if (broken || row.scope === undefined || row.tokens.length < BLOCK_TOKENS) this.#clear(row);
  }

  get hasGap(): boolean {
    return compactingMove(this.#views(undefined)) !== undefined;
  }

  /** Closes one gap between busy rows. Returns the rows that changed places.
   *  @throws Error when the move failed: they have not. */
  async compact(): Promise<{ from: Row; to: Row } | undefined> {
    const move = compactingMove(this.#views(undefined));
    const from = this.#rows.find(({ id }) => id === move?.from);
    const to = this.#rows.find(({ id }) => id === move?.to);
    if (from === undefined || to === undefined) return undefined;
    await this.#evict(to);
    await this.#runtime.copy(from.id, to.id).catch((error: unknown) => {
      this.#clear(to);
      throw error;
    });
    this.#hold(to, from.tokens, from.scope);
    to.busy = true;
    from.busy = false;
    this.#clear(from);
    return { from, to };
  }

  /** The row with the longest usable beginning of `tokens`; of equals, a free one. */
  #bestMatch(scope: string, tokens: readonly number[]): Match<Row> | undefined {
    const [first, ...others] = this.#index.matches(scope, tokens);
    const free = others.find(({ entry, length }) => !entry.busy && length === first?.length);
    return first?.entry.busy === true && free !== undefined ? free : first;
  }

  #views(match: Match<Row> | undefined): RowView[] {
    return this.#rows.map((row) => ({
      id: row.id,
      busy: row.busy,
      keeps: match?.entry === row && !losesMuch(match) ? 0 : row.tokens.length,
      lastUsed: row.lastUsed,
    }));
  }

  /** Makes a row free to overwrite. What it holds goes to an empty row, or into the store, unless it is short or held
   *  elsewhere as well. */
  async #evict(row: Row): Promise<void> {
    if (!this.#worthKeeping(row)) return;
    const empty = this.#rows.filter((each) => !each.busy && each !== row && each.tokens.length === 0).at(-1);
    if (empty !== undefined) {
      await this.#runtime.copy(row.id, empty.id);
      this.#hold(empty, row.tokens, row.scope);
      empty.lastUsed = row.lastUsed;
      return;
    }
    const leaving = await this.#save(row);
    if (leaving !== undefined) this.#store.put(leaving.held, leaving.saved);
  }

  #worthKeeping(row: Row): row is Row & Cached {
    if (!isScoped(row) || row.tokens.length < KEPT_TOKENS) return false;
    const elsewhere = this.#index.matches(row.scope, row.tokens).some(({ entry, length }) => {
      return entry !== row && length === row.tokens.length;
    });
    return !elsewhere && !this.#store.holds(row);
  }

  /** What the row holds, copied out. `undefined`: it cannot be kept, and is read again when it is wanted; nobody's request
   *  fails for that. */
  async #save({ id, scope, tokens }: Row & Cached): Promise<{ held: Cached; saved: SavedRow } | undefined> {
    if (!this.#store.fits(tokens.length)) return undefined;
    const saved = await this.#runtime.save(id, tokens.length).catch(() => undefined);
    return saved && { held: { scope, tokens }, saved };
  }

  #hold(row: Row, tokens: readonly number[], scope: string | undefined): void {
    if (isScoped(row)) this.#index.remove(row);
    row.tokens = [...tokens];
    row.scope = scope;
    if (isScoped(row)) this.#index.update(row);
  }

  #clear(row: Row): void {
    this.#hold(row, [], undefined);
    this.#runtime.cut(row.id, 0);
  }
}

function isScoped(row: Row): row is Row & Cached {
  return row.scope !== undefined;
}

/** More would be cut off than is reused. */
function losesMuch({ entry, length }: Match<Pick<Cached, 'tokens'>>): boolean {
  return entry.tokens.length - length > length;
}
