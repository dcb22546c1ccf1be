/** Holds one deadline per entry; the earliest is at hand in constant time, a change costs O(log n). */
export class DeadlineHeap<T> {
  readonly #nodes: Node<T>[] = [];
  readonly #byEntry = new Map<T, Node<T>>();

  get size(): number {
    return this.#nodes.length;
  }

  earliest(): number | undefined {
    return this.#nodes[0]?.at;
  }

  /** `undefined` and Infinity remove the entry. */
  set(entry: T, at: number | undefined): void {
    if (at === undefined || at === Infinity) {
      this.delete(entry);
      return;
    }
    const known = this.#byEntry.get(entry);
    if (known === undefined) {
      const node = { entry, at, index: this.#nodes.length };
      this.#byEntry.set(entry, node);
      this.#nodes.push(node);
      this.#rise(node);
    } else if (known.at !== at) {
      known.at = at;
      this.#rise(known);
      this.#sink(known);
    }
  }

  delete(entry: T): void {
    const node = this.#byEntry.get(entry);
    if (node === undefined) return;
    this.#byEntry.delete(entry);
    const last = this.#nodes.pop();
    if (last === undefined || last === node) return;
    this.#place(last, node.index);
    this.#rise(last);
    this.#sink(last);
  }

  /** Removes and returns one entry whose deadline is `now` or earlier. */
  takeDue(now: number): T | undefined {
    const first = this.#nodes[0];
    if (first === undefined || first.at > now) return undefined;
    this.delete(first.entry);
    return first.entry;
  }

  #rise(node: Node<T>): void {
    while (node.index > 0) {
      const parent = this.#nodes[(node.index - 1) >> 1];
      if (parent.at <= node.at) return;
      this.#swap(node, parent);
    }
  }

  #sink(node: Node<T>): void {
    for (;;) {
      const left = this.#nodes[node.index * 2 + 1];
      const right = this.#nodes[node.index * 2 + 2];
      if (left === undefined) return;
      const child = right !== undefined && right.at < left.at ? right : left;
      if (child.at >= node.at) return;
      this.#swap(node, child);
    }
  }

  #swap(a: Node<T>, b: Node<T>): void {
    const { index } = a;
    this.#place(a, b.index);
    this.#place(b, index);
  }

  #place(node: Node<T>, index: number): void {
    node.index = index;
    this.#nodes[index] = node;
  }
}

interface Node<T> {
  readonly entry: T;
  at: number;
  index: number;
}
