import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

/** The parts of an argon2id PHC string, within bounds that one login may cost. */
export interface PasswordHash {
  readonly memoryKib: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** Makes an argon2id PHC string: 19 MiB, 2 passes, 1 lane, 16 bytes of salt; about 50 ms, off the event loop. */
export async function hashPassword(password: string): Promise<string> {
  const { memoryKib, passes, parallelism } = DEFAULT_COST;
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, { memoryKib, passes, parallelism, salt, hash: new Uint8Array(HASH_BYTES) });
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${unpadded(salt)}$${unpadded(hash)}`;
}

/** Whether the password is the one that was hashed. Compares in constant time. */
export async function verifyPassword(password: string, hash: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, hash), hash.hash);
}

/** Parses a PHC string; undefined for another algorithm or version, and for costs that would stall the gateway. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  if (text.length > MAX_TEXT) return undefined;
  const match = PHC.exec(text);
  if (match === null) return undefined;
  const [memoryKib, passes, parallelism] = match.slice(1, 4).map(Number);
  const salt = decoded(match[4]);
  const hash = decoded(match[5]);
  if (parallelism < 1 || parallelism > 4 || passes < 1 || passes > MAX_PASSES) return undefined;
  if (memoryKib < 8 * parallelism || memoryKib > MAX_MEMORY_KIB || memoryKib * passes > MAX_WORK_KIB) return undefined;
  if (salt === undefined || hash === undefined) return undefined;
  if (salt.length < 8 || salt.length > 64 || hash.length < 16 || hash.length > 64) return undefined;
  return { memoryKib, passes, parallelism, salt, hash };
}

/** A hash of no password at all, as costly as the default: unknown users are checked against it. */
export function unmatchableHash(): PasswordHash {
  return { ...DEFAULT_COST, salt: randomBytes(SALT_BYTES), hash: randomBytes(HASH_BYTES) };
}

async function derive(password: string, hash: PasswordHash): Promise<Uint8Array> {
  return argon2Async('argon2id', {
    message: password,
    nonce: hash.salt,
    parallelism: hash.parallelism,
    tagLength: hash.hash.length,
    memory: hash.memoryKib,
    passes: hash.passes,
  });
}

function unpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '');
}

function decoded(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  // Decoding forgives stray bits and characters; a second spelling of one hash is refused.
  return unpadded(bytes) === text ? bytes : undefined;
}

const argon2Async = promisify(argon2);
const PHC =
  /^\$argon2id\$v=19\$m=([1-9][0-9]{0,6}),t=([1-9][0-9]?),p=([1-9])\$([A-Za-z0-9+/]{1,128})\$([A-Za-z0-9+/]{1,128})$/;
const DEFAULT_COST = { memoryKib: 19_456, passes: 2, parallelism: 1 } as const;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const MAX_TEXT = 400;
const MAX_PASSES = 16;
const MAX_MEMORY_KIB = 131_072;
// Twenty-seven times the default: a second or two of one core.
const MAX_WORK_KIB = 1_048_576;
