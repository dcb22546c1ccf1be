import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/source-tree.ts';

/** The numbers of one kind of run by contender: each measure has one value for each run. */
export class Samples {
  readonly #values = new Map<string, Map<string, number[]>>();

  add(contender: string, measures: Readonly<Record<string, number>>): void {
    const known = this.#values.get(contender) ?? new Map<string, number[]>();
    this.#values.set(contender, known);
    for (const [measure, value] of Object.entries(measures)) known.set(measure, [...(known.get(measure) ?? []), value]);
  }

  median(contender: string, measure: string): number {
    return medianOf(this.#values.get(contender)?.get(measure) ?? []);
  }

  toJSON(): unknown {
    return Object.fromEntries([...this.#values].map(([name, measures]) => [name, Object.fromEntries(measures)]));
  }
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Collects lines for people and numbers for machines, and writes both. */
export class Report {
  readonly #results: Record<string, unknown> = {};
  readonly #started = new Date().toISOString();

  say(line = ''): void {
    console.log(line);
  }

  /** Prints rows under a head, each column as wide as it must be. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
    for (const row of [head, widths.map((width) => '-'.repeat(width)), ...rows]) {
      const cells = row.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
      );
      this.say(`  ${cells.join('  ')}`);
    }
    this.say();
  }

  keep(section: string, result: unknown): void {
    this.#results[section] = result;
  }

  /** @returns the file's path. */
  write(name: string, facts: Readonly<Record<string, unknown>>): string {
    const folder = join(ROOT, '.cache', 'bench');
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${name}-${this.#started.replaceAll(':', '')}.json`);
    writeFileSync(path, `${JSON.stringify({ started: this.#started, ...facts, results: this.#results }, null, 1)}\n`);
    return path;
  }
}

export function ratio(ours: number, theirs: number): string {
  return `${(ours / theirs).toFixed(2)}×`;
}
