import { text } from 'node:stream/consumers';
import { LabError, type Namespace } from './netns.ts';

export interface PingReport {
  readonly sent: number;
  readonly received: number;
  readonly averageMs: number;
  readonly maxMs: number;
}

/** Pings an address 20 times a second from a namespace until asked for the report. */
export class PingWatch {
  readonly #child;
  readonly #output: Promise<string>;

  constructor(from: Namespace, address: string) {
    this.#child = from.spawn('ping', ['-n', '-q', '-i', '0.05', '-W', '5', address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (this.#child.stdout === null) throw new LabError('ping has no output');
    this.#output = text(this.#child.stdout);
  }

  /** Ends the pings. */
  async report(): Promise<PingReport> {
    this.#child.kill('SIGINT');
    const output = await this.#output;
    const counts = /(\d+) packets transmitted, (\d+) received/.exec(output);
    const times = /= [\d.]+\/([\d.]+)\/([\d.]+)\//.exec(output);
    if (counts === null) throw new LabError(`ping said: ${output}`);
    // The last one may still have been on its way.
    const sent = Math.max(Number(counts[1]) - 1, Number(counts[2]));
    return {
      sent,
      received: Number(counts[2]),
      averageMs: Number(times?.[1] ?? NaN),
      maxMs: Number(times?.[2] ?? NaN),
    };
  }
}
