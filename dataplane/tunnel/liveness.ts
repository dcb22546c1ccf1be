import { isNearlyUsedUp, KEYS_PER_PEER } from './data-channel.ts';
import type { ForwarderPort } from './forwarder-port.ts';
import { type PeerTable, Traffic, TRAFFIC_FIELDS } from './peer-table.ts';
import type { Sealer } from './sealer.ts';

/**
 * Pings, lost peers, key switches by time and keys nearly used up, in a walk over flat arrays that takes a second
 * from end to end: 20,000 idle peers cost well under a millisecond of it. What the control thread's ring has no room for is
 * said again at the next walk.
 */
export class Liveness {
  readonly #port: ForwarderPort;
  readonly #peers: PeerTable;
  readonly #sealer: Sealer;
  readonly #usage = new Float64Array(8);
  #intervalMs = LONGEST_INTERVAL_MS;
  #nextScan = 0;
  #lastTurn = 0;
  #awakeSince = 0;
  #cursor = 0;

  constructor(port: ForwarderPort, peers: PeerTable, sealer: Sealer) {
    this.#port = port;
    this.#peers = peers;
    this.#sealer = sealer;
  }

  /** Tests run timers of milliseconds: the walk keeps up with the shortest. */
  notePeer(slot: number): void {
    for (const period of [this.#peers.pingMs[slot], this.#peers.pingTimeoutMs[slot]]) {
      if (period > 0) this.#intervalMs = Math.max(SHORTEST_INTERVAL_MS, Math.min(this.#intervalMs, period / 8));
    }
    this.#nextScan = Math.min(this.#nextScan, this.#nextScan - LONGEST_INTERVAL_MS + this.#intervalMs);
  }

  /** Milliseconds until the next walk is due. */
  waitMs(now: number): number {
    return Math.max(0, Math.min(LONGEST_INTERVAL_MS, this.#nextScan - now));
  }

  /** Visits the next SLICE slots if they are due: thousands of pings fall due over a second, not at once. */
  scan(now: number): void {
    // A process that was stopped or starved has not listened: what it missed meanwhile is nobody's silence.
    if (now - this.#lastTurn > STALL_MS) this.#awakeSince = now;
    this.#lastTurn = now;
    if (now < this.#nextScan) return;
    const { inUse, slotsUsed } = this.#peers;
    const slices = Math.max(1, Math.ceil(slotsUsed / SLICE));
    this.#nextScan = now + this.#intervalMs / slices;
    const from = this.#cursor < slotsUsed ? this.#cursor : 0;
    const to = Math.min(from + SLICE, slotsUsed);
    for (let slot = from; slot < to; slot++) {
      if (inUse[slot] === 1) this.#visit(slot, now);
    }
    this.#cursor = to;
    this.#sealer.flush();
  }

  #visit(slot: number, now: number): void {
    const { pingMs, pingTimeoutMs, lastSent, traffic, lostReported, keys } = this.#peers;
    if (keys.isSwitchDue(slot, now)) keys.promote(slot);
    if (pingMs[slot] > 0 && now - lastSent[slot] >= pingMs[slot] && keys.sealHandle(slot) >= 0) {
      this.#sealer.ping(slot, now);
    }
    const lastReceived = traffic[slot * TRAFFIC_FIELDS + Traffic.LastReceived];
    const timeout = pingTimeoutMs[slot];
    if (timeout > 0 && lostReported[slot] === 0 && now - Math.max(lastReceived, this.#awakeSince) >= timeout) {
      if (this.#port.notify('keepaliveLost', slot, 0)) lostReported[slot] = 1;
    }
    if (keys.isSwitchUnreported(slot) && this.#port.notify('keySwitched', slot, keys.sealKeyId(slot))) {
      keys.noteSwitchReported(slot);
    }
    const wasActive = now - Math.max(lastReceived, lastSent[slot]) <= 2 * LONGEST_INTERVAL_MS;
    if (!wasActive) return;
    for (let k = 0; k < KEYS_PER_PEER; k++) this.#visitKey(slot, k);
  }

  #visitKey(slot: number, k: number): void {
    const { keys } = this.#peers;
    const handle = keys.handleAt(slot, k);
    if (handle < 0 || keys.isExhaustionReported(slot, k)) return;
    this.#port.keyUsage(handle, this.#usage);
    if (isNearlyUsedUp(this.#usage) && this.#port.notify('keyExhausted', slot, keys.keyIdAt(slot, k))) {
      keys.noteExhaustionReported(slot, k);
    }
  }
}

const SLICE = 1024;
const LONGEST_INTERVAL_MS = 1000;
/** The loop turns at least once in LONGEST_INTERVAL_MS. */
const STALL_MS = 2 * LONGEST_INTERVAL_MS;
const SHORTEST_INTERVAL_MS = 20;
