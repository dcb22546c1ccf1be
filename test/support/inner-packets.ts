import { internetChecksum, ipv4Packet } from './ip-twin.ts';

/** An ICMP message in an IPv4 packet. */
export function icmpPacket(
  source: string,
  destination: string,
  type: number,
  code: number,
  rest: Uint8Array,
): Uint8Array {
  const icmp = new Uint8Array(4 + rest.length);
  icmp[0] = type;
  icmp[1] = code;
  icmp.set(rest, 4);
  new DataView(icmp.buffer).setUint16(2, internetChecksum(icmp));
  return ipv4Packet(1, source, destination, icmp);
}

/** An echo request; `sequence` comes back in the reply. */
export function echoRequest(source: string, destination: string, sequence: number, payloadBytes = 56): Uint8Array {
  const rest = new Uint8Array(4 + payloadBytes);
  new DataView(rest.buffer).setUint16(0, 0x4243);
  new DataView(rest.buffer).setUint16(2, sequence);
  rest.fill(0x5a, 4);
  return icmpPacket(source, destination, 8, 0, rest);
}

export function isEchoReply(packet: Uint8Array, sequence: number): boolean {
  return packet[9] === 1 && packet[20] === 0 && ((packet[26] << 8) | packet[27]) === sequence;
}

/** ICMP "communication administratively prohibited". */
export function isRefusal(packet: Uint8Array): boolean {
  return packet[9] === 1 && packet[20] === 3 && packet[21] === 13;
}

export function sourceOf(packet: Uint8Array): string {
  return packet.subarray(12, 16).join('.');
}
