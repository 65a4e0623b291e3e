/** Finds the control tokens of a vocabulary in text: of those that begin at one place, the longest. */
export class ControlTokens {
  readonly #root: Node = { next: new Map() };
  /** 1 at each code unit that a token begins with: nearly all text is passed over by this alone. */
  readonly #begins = new Uint8Array(0x10000);

  constructor(texts: Iterable<string>) {
    for (const text of texts) {
      let node = this.#root;
      for (let at = 0; at < text.length; at++) {
        const unit = text.charCodeAt(at);
        let next = node.next.get(unit);
        if (next === undefined) node.next.set(unit, (next = { next: new Map() }));
        node = next;
      }
      if (text === '') continue;
      node.token = text;
      this.#begins[text.charCodeAt(0)] = 1;
    }
  }

  /** The first one at or after `from`. */
  find(text: string, from = 0): { at: number; token: string } | undefined {
    for (let at = from; at < text.length; at++) {
      if (this.#begins[text.charCodeAt(at)] === 0) continue;
      const token = this.#longestAt(text, at);
      if (token !== undefined) return { at, token };
    }
    return undefined;
  }

  #longestAt(text: string, from: number): string | undefined {
    let longest: string | undefined;
    let node = this.#root.next.get(text.charCodeAt(from));
    for (let at = from + 1; node !== undefined; at++) {
      longest = node.token ?? longest;
      node = at < text.length ? node.next.get(text.charCodeAt(at)) : undefined;
    }
    return longest;
  }
}

interface Node {
  next: Map<number, Node>;
  /** The token that ends here. */
  token?: string;
}
