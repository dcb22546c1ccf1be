import { createHmac, timingSafeEqual } from 'node:crypto';

/** The RFC 6238 step that `now` (ms since 1970) lies in. */
export function totpStep(now: number): number {
  return Math.floor(now / STEP_MS);
}

/** The six-digit code of a step: HMAC-SHA-1, RFC 4226 truncation. */
export function totpCode(secret: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = createHmac('sha1', secret).update(counter).digest();
  const value = digest.readUInt32BE(digest[19] & 0x0f) & 0x7fffffff;
  return String(value % 1_000_000).padStart(6, '0');
}

/**
 * The step whose code was given: the current one, or one to either side for a clock that is off.
 *
 * @param lastUsedStep this and earlier steps are spent; −1 for none.
 * @returns null for a wrong or spent code; the time it takes does not tell which.
 */
export function matchTotp(secret: Uint8Array, code: string, now: number, lastUsedStep: number): number | null {
  // Apps show codes in two groups of three, and people type them so.
  const given = Buffer.from(code.replace(/\s/g, ''));
  let matched: number | null = null;
  for (let step = totpStep(now) - 1; step <= totpStep(now) + 1; step += 1) {
    const expected = Buffer.from(totpCode(secret, Math.max(0, step)));
    const equal = given.length === expected.length && timingSafeEqual(given, expected);
    if (equal && step >= 0 && step > lastUsedStep) matched = step;
  }
  return matched;
}

/** Decodes base32 (RFC 4648; case, blanks, dashes and padding are forgiven); undefined for other text or under 10 bytes. */
export function decodeBase32(text: string): Uint8Array | undefined {
  const symbols = text.replace(/[\s-]/g, '').replace(/=+$/, '').toUpperCase();
  if (!/^[A-Z2-7]{16,256}$/.test(symbols)) return undefined;
  const bytes = new Uint8Array(Math.floor((symbols.length * 5) / 8));
  let bits = 0;
  let value = 0;
  let length = 0;
  for (const symbol of symbols) {
    value = ((value << 5) | ALPHABET.indexOf(symbol)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[length] = (value >>> bits) & 0xff;
    length += 1;
  }
  return bytes;
}

const STEP_MS = 30_000;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
