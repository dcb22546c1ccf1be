/** The part of node-netlink that rtnetlink.ts uses; the package has no types of its own. */
declare module 'node-netlink' {
  export interface NetlinkHeader {
    readonly nlmsg_type: bigint;
    readonly nlmsg_flags: bigint;
  }
  export interface NetlinkMessage {
    readonly header: NetlinkHeader;
    readonly payload: Buffer;
  }
  export interface NetlinkSocket {
    /** Waits for the acknowledgement or the end of a dump. `errorCode` is a positive errno, 0 for success. */
    tryTalk(
      message: NetlinkMessage,
      options?: { readonly timeout?: number },
    ): Promise<{ readonly errorCode: number; readonly packets: readonly NetlinkMessage[] }>;
    close(): Promise<void>;
  }
  export interface Netlink {
    readonly NLM_F_REQUEST: bigint;
    readonly NLM_F_ACK: bigint;
    readonly NLM_F_DUMP: bigint;
    readonly NLM_F_CREATE: bigint;
    readonly NLM_F_EXCL: bigint;
    open(options: { readonly family: number }): Promise<NetlinkSocket>;
  }
  const netlink: Netlink;
  export default netlink;
}
