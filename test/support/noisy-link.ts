import type { VirtualClock } from './virtual-clock.ts';

/** Chances in [0, 1] that befall one packet, and its travel time. */
export interface Noise {
  readonly drop: number;
  readonly duplicate: number;
  readonly corrupt: number;
  readonly latencyMs: number;
  /** Up to this much more, for each packet anew: packets overtake one another. */
  readonly jitterMs: number;
}

export const CLEAN: Noise = { drop: 0, duplicate: 0, corrupt: 0, latencyMs: 10, jitterMs: 0 };

/** One direction of a network that loses, doubles, bends and reorders packets. */
export class NoisyLink {
  noise: Noise;
  readonly #clock: VirtualClock;
  readonly #random: () => number;

  constructor(clock: VirtualClock, random: () => number, noise: Noise = CLEAN) {
    this.#clock = clock;
    this.#random = random;
    this.noise = noise;
  }

  send(bytes: Uint8Array, deliver: (bytes: Uint8Array) => void): void {
    const { drop, duplicate, corrupt, latencyMs, jitterMs } = this.noise;
    const copies = this.#random() < duplicate ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      if (this.#random() < drop) continue;
      const packet = bytes.slice();
      if (this.#random() < corrupt) packet[Math.floor(this.#random() * packet.length)] ^= 1 << (this.#random() * 8);
      this.#clock.after(latencyMs + this.#random() * jitterMs, () => deliver(packet));
    }
  }
}
