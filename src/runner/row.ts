/** One row of the context and what its cache holds. */
export interface Row {
  readonly id: number;
  tokens: number[];
  /** Whose prefix this is; absent: nobody's, so it is forgotten with its request. */
  scope: string | undefined;
  busy: boolean;
  lastUsed: number;
  /** Lengths at which a step must end, the shortest first: there its state is copied out. */
  marks: number[];
}

/** What a request brings for a row. */
export interface Wanted {
  prompt: readonly number[];
  scope: string | undefined;
  /** Tokens at the prompt's beginning that other conversations will begin with as well; 0: not known. */
  headTokens: number;
}

/** A row taken for a request. */
export interface Claim {
  row: Row;
  /** Tokens of the prompt that it holds already. */
  reused: number;
}

/**
 * Who has which row, and what the rows remember. Rows change only between two steps of the loop. A prefix is shared only
 * between requests of one scope: whether it was there can be told from the time that an answer takes.
 */
export interface RowKeeper {
  /** Takes a free row for a prompt, with as much of the prompt in it as can be had. The last token is always left to
   *  read: the answer begins from it.
   *  @throws Error when no row is free. */
  claim(wanted: Wanted): Promise<Claim>;
  /** Tokens of a prompt that it would not have to read. */
  reusable(prompt: readonly number[], scope: string): number;
  /** These tokens were added to the row. */
  grow(row: Row, tokens: readonly number[]): void;
  /** To be called after each step: copies out what rows that came to a mark hold. */
  keepMarked(): Promise<void>;
  /** The row's request has ended; `broken`: what the row holds is not known. */
  release(row: Row, broken: boolean): void;
  readonly hasGap: boolean;
  /** Closes one gap between busy rows. Returns the rows that changed places. */
  compact(): Promise<{ from: Row; to: Row } | undefined>;
}

export function emptyRows(count: number): Row[] {
  return Array.from({ length: count }, (_, id) => ({
    id,
    tokens: [],
    scope: undefined,
    busy: false,
    lastUsed: 0,
    marks: [],
  }));
}
