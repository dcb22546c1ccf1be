import type { PacketBatch } from './packet-batch.ts';
import { ReplayOutcome, ReplayWindows } from './replay-window.ts';

/**
 * Which native key opens and which one seals, per peer; with the replay window of each key.
 * A peer has up to KEYS_PER_PEER keys: current, retiring, new, and one detached.
 *
 *   newKey primary ──▶ sending ◀── first valid packet on it, swapKeys, or 120 s ── pending ◀── newKey secondary
 */
export class DataKeys {
  /** Per peer and key id: entry + 1, 0 for none. */
  readonly #entryOf: Uint8Array;
  /** Per peer: the sending entry + 1. */
  readonly #sending: Uint8Array;
  /** Per peer: the entry + 1 that waits for its first packet. */
  readonly #pending: Uint8Array;
  readonly #pendingUntil: Float64Array;
  /** Per entry: native handle + 1, 0 for free. */
  readonly #handle: Int32Array;
  readonly #keyId: Uint8Array;
  readonly #flags: Uint8Array;
  readonly #windows: ReplayWindows;

  constructor(slots: number) {
    const entries = slots * KEYS_PER_PEER;
    this.#entryOf = new Uint8Array(slots * KEY_IDS);
    this.#sending = new Uint8Array(slots);
    this.#pending = new Uint8Array(slots);
    this.#pendingUntil = new Float64Array(slots);
    this.#handle = new Int32Array(entries);
    this.#keyId = new Uint8Array(entries);
    this.#flags = new Uint8Array(entries);
    this.#windows = new ReplayWindows(entries * WINDOWS_PER_KEY);
  }

  /**
   * @param role `primary` sends at once; `secondary` from its first valid packet on, or at `switchAt`.
   * @returns false when the peer has no room for another key.
   */
  install(slot: number, keyId: number, handle: number, role: 'primary' | 'secondary', switchAt: number): boolean {
    let entry = this.#entryOf[slot * KEY_IDS + keyId] - 1;
    for (let k = 0; entry < 0 && k < KEYS_PER_PEER; k++) {
      if (this.#handle[slot * KEYS_PER_PEER + k] === 0) entry = k;
    }
    if (entry < 0) return false;
    const at = slot * KEYS_PER_PEER + entry;
    this.#entryOf[slot * KEY_IDS + keyId] = entry + 1;
    this.#handle[at] = handle + 1;
    this.#keyId[at] = keyId;
    this.#flags[at] = 0;
    for (let w = 0; w < WINDOWS_PER_KEY; w++) this.#windows.reset(at * WINDOWS_PER_KEY + w, 0);
    if (role === 'primary' || this.#sending[slot] === 0) {
      this.#sending[slot] = entry + 1;
      if (this.#pending[slot] === entry + 1) this.#pending[slot] = 0;
    } else {
      this.#pending[slot] = entry + 1;
      this.#pendingUntil[slot] = switchAt;
    }
    return true;
  }

  remove(slot: number, keyId: number): void {
    const entry = this.#entryOf[slot * KEY_IDS + keyId];
    if (entry === 0) return;
    this.#entryOf[slot * KEY_IDS + keyId] = 0;
    this.#handle[slot * KEYS_PER_PEER + entry - 1] = 0;
    if (this.#sending[slot] === entry) this.#sending[slot] = 0;
    if (this.#pending[slot] === entry) this.#pending[slot] = 0;
  }

  clear(slot: number): void {
    this.#entryOf.fill(0, slot * KEY_IDS, (slot + 1) * KEY_IDS);
    this.#handle.fill(0, slot * KEYS_PER_PEER, (slot + 1) * KEYS_PER_PEER);
    this.#sending[slot] = 0;
    this.#pending[slot] = 0;
  }

  /** Native handle for received packets, −1 for an unknown key id. */
  openHandle(slot: number, keyId: number): number {
    const entry = this.#entryOf[slot * KEY_IDS + keyId];
    return entry === 0 ? -1 : this.#handle[slot * KEYS_PER_PEER + entry - 1] - 1;
  }

  /** Native handle to send with, −1 for none. */
  sealHandle(slot: number): number {
    const entry = this.#sending[slot];
    return entry === 0 ? -1 : this.#handle[slot * KEYS_PER_PEER + entry - 1] - 1;
  }

  sealKeyId(slot: number): number {
    return this.#keyId[slot * KEYS_PER_PEER + this.#sending[slot] - 1];
  }

  /** Checks an opened packet against its key's window. An epoch and the one before it have a window each. */
  acceptPacket(slot: number, keyId: number, batch: PacketBatch, index: number, second: number): ReplayOutcome {
    const entry = this.#entryOf[slot * KEY_IDS + keyId];
    if (entry === 0) return ReplayOutcome.TooOld;
    const epoch = batch.epoch[index];
    const window = (slot * KEYS_PER_PEER + entry - 1) * WINDOWS_PER_KEY + (epoch & 1);
    return this.#windows.accept(window, epoch, batch.packetId[index], second);
  }

  /** Whether this valid packet is the first one on the waiting key. */
  isPending(slot: number, keyId: number): boolean {
    const pending = this.#pending[slot];
    return pending !== 0 && this.#entryOf[slot * KEY_IDS + keyId] === pending;
  }

  /** Makes the waiting key, if there is one, the sending one. */
  promote(slot: number): void {
    const pending = this.#pending[slot];
    if (pending === 0) return;
    this.#sending[slot] = pending;
    this.#pending[slot] = 0;
    this.#flags[slot * KEYS_PER_PEER + pending - 1] |= SWITCH_UNREPORTED;
  }

  /** The control thread knows which key sends. */
  noteSwitchReported(slot: number): void {
    const sending = this.#sending[slot];
    if (sending !== 0) this.#flags[slot * KEYS_PER_PEER + sending - 1] &= ~SWITCH_UNREPORTED;
  }

  isSwitchUnreported(slot: number): boolean {
    const sending = this.#sending[slot];
    return sending !== 0 && (this.#flags[slot * KEYS_PER_PEER + sending - 1] & SWITCH_UNREPORTED) !== 0;
  }

  isSwitchDue(slot: number, now: number): boolean {
    return this.#pending[slot] !== 0 && now >= this.#pendingUntil[slot];
  }

  /** Reads entry `k` (0 to KEYS_PER_PEER − 1). @returns its handle, −1 if it is free. */
  handleAt(slot: number, k: number): number {
    return this.#handle[slot * KEYS_PER_PEER + k] - 1;
  }

  keyIdAt(slot: number, k: number): number {
    return this.#keyId[slot * KEYS_PER_PEER + k];
  }

  isExhaustionReported(slot: number, k: number): boolean {
    return (this.#flags[slot * KEYS_PER_PEER + k] & EXHAUSTION_REPORTED) !== 0;
  }

  noteExhaustionReported(slot: number, k: number): void {
    this.#flags[slot * KEYS_PER_PEER + k] |= EXHAUSTION_REPORTED;
  }
}

/** The control thread has not yet been told that this key sends now. */
const SWITCH_UNREPORTED = 1;
/** The control thread has been asked to renew. */
const EXHAUSTION_REPORTED = 2;

/**
 * Whether a key should be renewed now.
 *
 * @param usage as the addon's keyUsage writes it: packets and blocks sealed, packets and blocks opened, failed tags,
 * send epoch, receive epoch, last packet id sent.
 */
export function isNearlyUsedUp(usage: Float64Array): boolean {
  if (usage[4] > FAILED_TAGS_RENEW) return true;
  const epoch = Math.max(usage[5], usage[6]);
  if (epoch > 0) return epoch >= EPOCH_RENEW;
  return usage[0] + usage[1] + usage[2] + usage[3] >= AEAD_RENEW || usage[7] >= PACKET_ID_RENEW;
}

export const KEYS_PER_PEER = 4;
const KEY_IDS = 8;
const WINDOWS_PER_KEY = 2;
const AEAD_RENEW = (2 ** 36 / 8) * 7;
const PACKET_ID_RENEW = 0xff000000;
const EPOCH_RENEW = 0xf000;
const FAILED_TAGS_RENEW = 2 ** 35;
