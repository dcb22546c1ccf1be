/** One connection as `clientvpn connections --output json` prints it. Times are RFC 3339, null while unknown. */
export interface Connection {
  readonly connectionId: string;
  readonly endpoint: string;
  readonly targetNetwork: string;
  readonly status: 'active' | 'failed' | 'terminated';
  readonly username: string;
  readonly commonName: string;
  readonly groups: readonly string[];
  /** Tunnel address, null for a failed attempt. */
  readonly clientIp: string | null;
  /** `address:port`, IPv6 addresses in brackets. */
  readonly remote: string;
  readonly transport: 'udp' | 'tcp';
  readonly cipher: string | null;
  /** Client → network, as the network sees it (inner packets). */
  readonly ingressBytes: number;
  readonly egressBytes: number;
  readonly ingressPackets: number;
  readonly egressPackets: number;
  readonly establishedTime: string | null;
  readonly endTime: string | null;
  readonly endReason: string | null;
}
