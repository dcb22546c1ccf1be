import { createSecretKey, timingSafeEqual } from 'node:crypto';
import { isAllZero, u32Bytes } from './bytes.ts';
import { SESSION_ID_BYTES } from './control-packet.ts';
import { hmacOf, type CryptoKeyBytes } from './control-wrap.ts';

/** Half a hand window: a cookie is good for 60 to 90 s. */
const SLOT_S = 30;

/** The secret of cookies in the form that is cheapest to use: a flood of resets costs little else. @param random 32 bytes */
export function cookieSecretFrom(random: Uint8Array): CryptoKeyBytes {
  return createSecretKey(random);
}

/** The 30 s slot of a time in seconds, of whatever clock. */
export function cookieSlotOf(seconds: number): number {
  return Math.floor(seconds / SLOT_S);
}

/**
 * Our session id for a client whose address is not yet proven: 8 bytes, never all zero, the same for repeated resets
 * of a slot, so that answering one stores nothing.
 * @param secret see cookieSecretFrom; @param remoteBytes family, address and port of the client
 */
export function makeCookie(
  secret: CryptoKeyBytes,
  slot: number,
  remoteBytes: Uint8Array,
  clientSessionId: Uint8Array,
): Uint8Array {
  const cookie = hmacOf('SHA256', secret, [u32Bytes(slot), remoteBytes, clientSessionId]).slice(0, SESSION_ID_BYTES);
  if (isAllZero(cookie)) cookie[0] = 1;
  return cookie;
}

/**
 * Whether `cookie` was made for this client in this slot or one of the two before. Each comparison takes constant time;
 * which slot it was is no secret.
 */
export function checkCookie(
  secret: CryptoKeyBytes,
  slotNow: number,
  remoteBytes: Uint8Array,
  clientSessionId: Uint8Array,
  cookie: Uint8Array,
): boolean {
  if (cookie.length !== SESSION_ID_BYTES) return false;
  return [slotNow, slotNow - 1, slotNow - 2].some((slot) =>
    timingSafeEqual(makeCookie(secret, slot, remoteBytes, clientSessionId), cookie),
  );
}

const TLV_FLAGS = [0x00, 0x01];
const FLAG_RESEND_WKC = [0x00, 0x01];

/** Payload of HARD_RESET_SERVER_V2; only clients that signalled early negotiation may be sent one. */
export function serverResetTlv(resendWkc: boolean): Uint8Array {
  return resendWkc ? Uint8Array.of(...TLV_FLAGS, 0x00, 0x02, ...FLAG_RESEND_WKC) : new Uint8Array(0);
}
