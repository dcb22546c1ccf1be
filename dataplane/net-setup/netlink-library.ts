import { TerminalError } from '../../net/errors.ts';

/** The part of node-netlink that is used here; the package has no types of its own. */
export interface Netlink {
  readonly NLM_F_REQUEST: bigint;
  readonly NLM_F_ACK: bigint;
  readonly NLM_F_DUMP: bigint;
  readonly NLM_F_CREATE: bigint;
  readonly NLM_F_EXCL: bigint;
  open(options: { readonly family: number }): Promise<NetlinkSocket>;
}

export interface NetlinkSocket {
  /** Waits for the acknowledgement or the end of a dump. `errorCode` is a positive errno, 0 for success. */
  tryTalk(
    message: NetlinkMessage,
    options?: { readonly timeout?: number },
  ): Promise<{ readonly errorCode: number; readonly packets: readonly NetlinkMessage[] }>;
  close(): Promise<void>;
}

export interface NetlinkMessage {
  readonly header: { readonly nlmsg_type: bigint; readonly nlmsg_flags: bigint };
  readonly payload: Buffer;
}

/** @throws TerminalError when its native parts, which `make build` compiles, are missing */
export async function loadNetlink(): Promise<Netlink> {
  // As a value the compiler does not follow, because it would find no types.
  const name: string = 'node-netlink';
  try {
    return ((await import(name)) as { readonly default: Netlink }).default;
  } catch (cause) {
    throw new TerminalError('The native parts of node-netlink are missing: run make build', { cause });
  }
}
