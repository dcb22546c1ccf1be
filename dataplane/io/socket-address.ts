import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { InternalError } from '../../net/errors.ts';
import { SOCKET_ADDRESS_BYTES, type SocketAddressBytes } from '../data-channel.ts';

/**
 * A row of the layout in native/socket_address.h with the remote's side filled in.
 *
 * @throws InternalError if `address` is no IP address or `port` no port: both were checked when they were read.
 */
export function parseAddress(address: string, port: number): SocketAddressBytes {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InternalError('Expected a port from 0 to 65535');
  const row = new Uint8Array(SOCKET_ADDRESS_BYTES);
  row[2] = port >> 8;
  row[3] = port & 0xff;
  if (isIPv4(address)) {
    row[0] = 4;
    row.set(address.split('.').map(Number), 4);
    return row;
  }
  if (!isIPv6(address)) throw new InternalError('Expected an IPv4 or IPv6 address');
  const bytes = ipv6Bytes(address);
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  row[0] = isMapped ? 4 : 6;
  row.set(isMapped ? bytes.subarray(12) : bytes, 4);
  return row;
}

/** The remote of a row; family 0 and an empty address for an empty row. */
export function formatAddress(row: SocketAddressBytes): { family: number; address: string; port: number } {
  if (!(row instanceof Uint8Array)) throw new InternalError('Expected a Uint8Array');
  if (row.length < SOCKET_ADDRESS_BYTES) throw new InternalError(`Expected ${SOCKET_ADDRESS_BYTES} bytes`);
  const family = row[0];
  const port = (row[2] << 8) | row[3];
  if (family === 4) return { family, address: row.subarray(4, 8).join('.'), port };
  if (family !== 6) return { family: 0, address: '', port };
  const groups = Array.from({ length: 8 }, (_, index) => ((row[4 + 2 * index] << 8) | row[5 + 2 * index]).toString(16));
  return { family, address: new SocketAddress({ family: 'ipv6', address: groups.join(':') }).address, port };
}

function ipv6Bytes(address: string): Uint8Array {
  // An IPv4 tail stands for the last two groups.
  const text = address.replace(/\d+\.\d+\.\d+\.\d+$/, (tail) => {
    const [a, b, c, d] = tail.split('.').map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head, tail] = text.replace(/%.*$/, '').split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return Uint8Array.from(
    [...before, ...zeros, ...after].flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 0xff];
    }),
  );
}
