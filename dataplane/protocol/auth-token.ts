import { timingSafeEqual } from 'node:crypto';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { concatBytes, u64Bytes, utf8Bytes, viewOf } from './bytes.ts';
import { hmacOf } from './control-wrap.ts';

const PREFIX = 'SESS_ID_AT_';
export const TOKEN_SESSION_ID_BYTES = 12;
const RENEWED_AT = TOKEN_SESSION_ID_BYTES + 8;
const MAC_AT = RENEWED_AT + 8;
const TOKEN_BYTES = MAC_AT + 32;
/** 91: fits the 127 characters of builds without PKCS#11 and the 255 of a pushed option. */
export const AUTH_TOKEN_CHARACTERS = PREFIX.length + (TOKEN_BYTES / 3) * 4;

/** Seconds since 1970 throughout. */
export interface AuthTokenLimits {
  /** From the login on. */
  readonly lifetimeS: number;
  /** How often a token is renewed; one not renewed for twice as long has expired. */
  readonly renewalS: number;
}

export type AuthTokenVerdict =
  | { readonly kind: 'valid'; readonly sessionId: Uint8Array; readonly createdS: number }
  /** Genuine, but past its time. */
  | { readonly kind: 'expired' }
  | { readonly kind: 'invalid' };

/** Whether a password is meant as a token; says nothing about its worth. */
export function looksLikeToken(password: string): boolean {
  return password.startsWith(PREFIX);
}

/**
 * `SESS_ID_AT_` and base64 of `[session id 12][created 8][renewed 8][HMAC-SHA256 32]`; the MAC covers the user name and
 * what stands before it.
 * @param key 32 bytes; @param random 12 bytes
 */
export function issueToken(key: Uint8Array, username: string, nowS: number, random: Uint8Array): string {
  return tokenFrom(key, username, { sessionId: random, createdS: nowS }, nowS);
}

/** A token with the session id and the age of a valid one. */
export function renewToken(
  key: Uint8Array,
  username: string,
  token: { readonly sessionId: Uint8Array; readonly createdS: number },
  nowS: number,
): string {
  return tokenFrom(key, username, token, nowS);
}

export function checkToken(
  key: Uint8Array,
  username: string,
  token: string,
  limits: AuthTokenLimits & { readonly nowS: number },
): AuthTokenVerdict {
  if (token.length !== AUTH_TOKEN_CHARACTERS || !looksLikeToken(token)) return { kind: 'invalid' };
  const bytes = decodeBase64(token.slice(PREFIX.length));
  if (bytes?.length !== TOKEN_BYTES) return { kind: 'invalid' };
  const signed = bytes.subarray(0, MAC_AT);
  if (!timingSafeEqual(macOf(key, username, signed), bytes.subarray(MAC_AT))) return { kind: 'invalid' };
  const createdS = Number(viewOf(bytes).getBigUint64(TOKEN_SESSION_ID_BYTES));
  const renewedS = Number(viewOf(bytes).getBigUint64(RENEWED_AT));
  const isExpired = limits.nowS >= renewedS + 2 * limits.renewalS || limits.nowS - createdS > limits.lifetimeS;
  return isExpired
    ? { kind: 'expired' }
    : { kind: 'valid', sessionId: bytes.slice(0, TOKEN_SESSION_ID_BYTES), createdS };
}

function tokenFrom(
  key: Uint8Array,
  username: string,
  token: { readonly sessionId: Uint8Array; readonly createdS: number },
  renewedS: number,
): string {
  const signed = concatBytes(token.sessionId, u64Bytes(token.createdS), u64Bytes(renewedS));
  return PREFIX + encodeBase64(concatBytes(signed, macOf(key, username, signed)));
}

function macOf(key: Uint8Array, username: string, signed: Uint8Array): Uint8Array {
  return hmacOf('SHA256', key, [utf8Bytes(username), signed]);
}
