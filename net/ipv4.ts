/** An IPv4 address as an unsigned 32-bit number, most significant octet first. */
export type Ipv4 = number;

const OCTET = /^(0|[1-9][0-9]{0,2})$/;

/** Parses dotted-quad text; leading zeros, signs and blanks are refused. */
export function parseIpv4(text: string): Ipv4 | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    const octet = Number(part);
    if (!OCTET.test(part) || octet > 255) return undefined;
    address = address * 256 + octet;
  }
  return address;
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
