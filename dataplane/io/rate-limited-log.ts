import type { Logger } from './logger.ts';

/**
 * Lets a burst of lines pass per message, then few; the next line that passes says how many did not.
 * For what strangers can cause: refused logins and certificates, malformed packets.
 */
export class RateLimitedLog {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #buckets = new Map<string, { tokens: number; at: number; suppressed: number }>();

  /** @param now milliseconds of any clock, also of one that is set back now and then. */
  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** @param message constant text: each one is a bucket. */
  info(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#write('info', fields, message);
  }

  /** @param message constant text: each one is a bucket. */
  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#write('warn', fields, message);
  }

  /** @param message constant text: each one is a bucket. */
  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#write('error', fields, message);
  }

  #write(level: 'info' | 'warn' | 'error', fields: Readonly<Record<string, unknown>>, message: string): void {
    const now = this.#now();
    const bucket = this.#buckets.get(message) ?? { tokens: BURST, at: now, suppressed: 0 };
    this.#buckets.set(message, bucket);
    bucket.tokens = Math.min(BURST, bucket.tokens + Math.max(0, now - bucket.at) / INTERVAL_MS);
    bucket.at = now;
    if (bucket.tokens < 1) {
      bucket.suppressed += 1;
      return;
    }
    bucket.tokens -= 1;
    this.#log[level](bucket.suppressed === 0 ? fields : { ...fields, suppressed: bucket.suppressed }, message);
    bucket.suppressed = 0;
  }
}

const BURST = 10;
const INTERVAL_MS = 1_000;
