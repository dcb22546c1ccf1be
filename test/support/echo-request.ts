import { parseIpv4 } from '../../net/ipv4.ts';

/** An IPv4 packet with an ICMP echo request of no payload, 28 bytes. */
export function echoRequest(source: string, destination: string): Uint8Array {
  const packet = new Uint8Array(28);
  const view = new DataView(packet.buffer);
  view.setUint16(0, 0x4500);
  view.setUint16(2, packet.length);
  view.setUint16(8, 0x4001);
  view.setUint32(12, parseIpv4(source) ?? 0);
  view.setUint32(16, parseIpv4(destination) ?? 0);
  view.setUint16(20, 0x0800);
  view.setUint16(22, checksum(view, 20, 28));
  view.setUint16(10, checksum(view, 0, 20));
  return packet;
}

function checksum(view: DataView, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
