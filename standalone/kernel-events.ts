import { constants } from 'node:os';
import type { NativeAddon } from '../dataplane/io/native-addon.ts';

/** What has changed: interfaces, their addresses or forwarding; nft rules of ours; nft rules of others. */
export type KernelEvent = 'links' | 'own rules' | 'other rules';

export interface KernelEventsOptions {
  readonly addon: Pick<NativeAddon, 'netlinkOpen' | 'watchReadable' | 'tcpReceive' | 'close'>;
  /** Name of our nft table. */
  readonly table: string;
  readonly onEvent: (event: KernelEvent) => void;
}

/** Hears from the kernel what others, and we ourselves, change on this machine. What was lost counts as ours. */
export class KernelEvents {
  readonly #addon: KernelEventsOptions['addon'];
  readonly #onEvent: KernelEventsOptions['onEvent'];
  readonly #message = Buffer.alloc(MESSAGE_BYTES);
  readonly #closers: (() => void)[] = [];

  /** @throws Error of the system where it can't listen */
  constructor({ addon, table, onEvent }: KernelEventsOptions) {
    this.#addon = addon;
    this.#onEvent = onEvent;
    this.#hear(NETLINK_ROUTE, [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_NETCONF], () => 'links');
    // What tells of a table names it.
    this.#hear(NETLINK_NETFILTER, [NFNLGRP_NFTABLES], (message) =>
      message === 'lost' || message.includes(`${table}\0`) ? 'own rules' : 'other rules',
    );
  }

  close(): void {
    for (const close of this.#closers.splice(0)) close();
  }

  #hear(protocol: number, groups: readonly number[], eventOf: (message: Buffer | 'lost') => KernelEvent): void {
    const addon = this.#addon;
    const fd = addon.netlinkOpen(protocol, Int32Array.from(groups));
    const stop = addon.watchReadable(fd, () => {
      const events = new Set<KernelEvent>();
      for (let taken = 0; taken < MESSAGES_PER_TURN; taken++) {
        const length = addon.tcpReceive(fd, this.#message, 0, MESSAGE_BYTES);
        if (length === -constants.errno.EAGAIN) break;
        const isWhole = length >= 0 && length < MESSAGE_BYTES;
        events.add(eventOf(isWhole ? this.#message.subarray(0, length) : 'lost'));
      }
      for (const event of events) this.#onEvent(event);
    });
    this.#closers.push(() => {
      stop();
      addon.close(fd);
    });
  }
}

const NETLINK_ROUTE = 0;
const RTNLGRP_LINK = 1;
const RTNLGRP_IPV4_IFADDR = 5;
const RTNLGRP_IPV4_NETCONF = 24;
const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
/** The kernel makes messages of up to 8 KiB, and tells of large changes in several. */
const MESSAGE_BYTES = 32_768;
const MESSAGES_PER_TURN = 64;
