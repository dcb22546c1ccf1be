import type { Logger } from './logger.ts';

/**
 * Lets a burst of ten lines pass per message and `reason`, then one a second; the next line that passes says how many did
 * not. For what strangers can cause: refused logins and certificates, malformed packets.
 */
export class RateLimitedLog {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param now milliseconds of any clock, also of one that is set back now and then. */
  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** @param message constant text: each one is a bucket, or one for each `reason` among the fields. */
  info(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#write('info', fields, message);
  }

  /** @param message constant text: each one is a bucket, or one for each `reason` among the fields. */
  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#write('warn', fields, message);
  }

  /** @param message constant text: each one is a bucket, or one for each `reason` among the fields. */
  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#write('error', fields, message);
  }

  #write(level: 'info' | 'warn' | 'error', fields: Readonly<Record<string, unknown>>, message: string): void {
    const now = this.#now();
    const bucket = this.#bucketOf(message, fields['reason'], now);
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

  #bucketOf(message: string, reason: unknown, now: number): Bucket {
    const own = typeof reason === 'string' ? `${message}\n${reason}` : message;
    const key = this.#buckets.has(own) || this.#buckets.size < BUCKETS_MOST ? own : message;
    const bucket = this.#buckets.get(key) ?? { tokens: BURST, at: now, suppressed: 0 };
    this.#buckets.set(key, bucket);
    return bucket;
  }
}

interface Bucket {
  tokens: number;
  /** When it was last looked at. */
  at: number;
  suppressed: number;
}

const BURST = 10;
const INTERVAL_MS = 1_000;
/** Reasons are few and ours, but for some that TLS gives. Of those beyond, all of one message share a bucket. */
const BUCKETS_MOST = 256;
