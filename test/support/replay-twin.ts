/** A replay window that remembers everything: every id with its time, and every time the highest id rose. */
export class NaiveReplayWindow {
  readonly #window: number;
  readonly #seen = new Set<number>();
  readonly #rises: { readonly id: number; readonly second: number }[] = [];

  constructor(window: number) {
    this.#window = window;
  }

  /** @param second whole seconds. Sixteen whole seconds after the one in which an id was overtaken, it is too old. */
  accept(id: number, second: number): 'fresh' | 'replayed' | 'old' {
    const highest = this.#rises.at(-1)?.id ?? 0;
    if (id > highest) {
      this.#rises.push({ id, second });
      this.#seen.add(id);
      return 'fresh';
    }
    if (highest - id >= this.#window) return 'old';
    if (this.#seen.has(id)) return 'replayed';
    if (this.#rises.some((rise) => rise.id >= id && second - rise.second >= 16)) return 'old';
    this.#seen.add(id);
    return 'fresh';
  }
}
