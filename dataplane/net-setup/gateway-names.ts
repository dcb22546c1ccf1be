import { createHash } from 'node:crypto';

export interface GatewayNames {
  /** At most 15 characters, the kernel's limit for interface names. */
  readonly tun: string;
  readonly table: string;
}

/** The kernel objects of the gateway whose state folder this is: its own, told from those of a second gateway. */
export function gatewayNames(stateFolderRealPath: string): GatewayNames {
  const id = createHash('sha256').update(stateFolderRealPath).digest('hex').slice(0, 8);
  return { tun: `${TUN_PREFIX}${id}`, table: `cvpn_${id}` };
}

/** The TUN of the gateway whose nft table this is; undefined for a table of others. */
export function tunOfTable(table: string): string | undefined {
  const id = /^cvpn_([0-9a-f]{8})$/.exec(table)?.[1];
  return id === undefined ? undefined : `${TUN_PREFIX}${id}`;
}

/** Whether the interface is a gateway's TUN, ours or another's. */
export function isGatewayTun(name: string): boolean {
  return /^cvpn-[0-9a-f]{8}$/.test(name);
}

export const TUN_PREFIX = 'cvpn-';
