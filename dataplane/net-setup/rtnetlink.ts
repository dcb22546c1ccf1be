import { getSystemErrorName } from 'node:util';
import { TerminalError, TransientError } from '../../net/errors.ts';
import { loadNetlink, type Netlink, type NetlinkSocket } from './netlink-library.ts';
import {
  decodeAddress,
  decodeLink,
  encodeAddressDump,
  encodeLinkChange,
  encodeLinkDeletion,
  encodeLinkDump,
  encodeNewAddress,
  RtnetlinkType,
  type Link,
  type LinkAddress,
  type LinkChange,
} from './rtnetlink-messages.ts';

/**
 * Runs `work` with an rtnetlink connection of its own. node-netlink occupies a thread of the pool for
 * as long as a socket is open, so none is kept.
 *
 * @throws TerminalError what the kernel refuses, TransientError when it does not answer
 */
export async function withRtnetlink<T>(work: (rtnetlink: Rtnetlink) => Promise<T>): Promise<T> {
  const netlink = await loadNetlink();
  const socket = await netlink.open({ family: NETLINK_ROUTE });
  try {
    return await work(new Rtnetlink(netlink, socket));
  } finally {
    await socket.close();
  }
}

export class Rtnetlink {
  readonly #netlink: Netlink;
  readonly #socket: NetlinkSocket;

  constructor(netlink: Netlink, socket: NetlinkSocket) {
    this.#netlink = netlink;
    this.#socket = socket;
  }

  async links(): Promise<readonly Link[]> {
    const payloads = await this.#talk('list links', RtnetlinkType.GetLink, this.#netlink.NLM_F_DUMP, encodeLinkDump());
    return payloads.map(decodeLink).filter((link) => link !== undefined);
  }

  async addresses(): Promise<readonly LinkAddress[]> {
    const dump = encodeAddressDump();
    const payloads = await this.#talk('list addresses', RtnetlinkType.GetAddress, this.#netlink.NLM_F_DUMP, dump);
    return payloads.map(decodeAddress).filter((address) => address !== undefined);
  }

  async change(link: Pick<Link, 'index' | 'name'>, change: LinkChange): Promise<void> {
    await this.#talk(`change ${link.name}`, RtnetlinkType.SetLink, 0n, encodeLinkChange(link.index, change));
  }

  async remove(link: Pick<Link, 'index' | 'name'>): Promise<void> {
    await this.#talk(`remove ${link.name}`, RtnetlinkType.DeleteLink, 0n, encodeLinkDeletion(link.index));
  }

  async addAddress(link: Pick<Link, 'name'>, address: LinkAddress): Promise<void> {
    const flags = this.#netlink.NLM_F_CREATE | this.#netlink.NLM_F_EXCL;
    await this.#talk(`add the address of ${link.name}`, RtnetlinkType.NewAddress, flags, encodeNewAddress(address));
  }

  async #talk(what: string, type: number, flags: bigint, payload: Uint8Array): Promise<readonly Uint8Array[]> {
    const header = {
      nlmsg_type: BigInt(type),
      nlmsg_flags: this.#netlink.NLM_F_REQUEST | this.#netlink.NLM_F_ACK | flags,
    };
    const answer = await this.#socket
      .tryTalk({ header, payload: Buffer.from(payload) }, { timeout: ANSWER_TIMEOUT_MS })
      .catch((cause: unknown) => {
        throw new TransientError(`The kernel did not answer the request to ${what}`, { cause });
      });
    if (answer.errorCode !== 0)
      throw new TerminalError(`The kernel refused to ${what}: ${getSystemErrorName(-answer.errorCode)}`);
    return answer.packets.map((packet) => packet.payload);
  }
}

const NETLINK_ROUTE = 0;
const ANSWER_TIMEOUT_MS = 2_000;
