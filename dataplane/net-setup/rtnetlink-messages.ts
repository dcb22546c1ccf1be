/**
 * Encoders and decoders for the few rtnetlink messages net-setup needs, without the netlink header
 * (node-netlink adds it). Host byte order is little-endian on both machines we run on.
 *
 *   link:     ifinfomsg [family 1][pad 1][type 2][index 4][flags 4][change 4]   then attributes
 *   address:  ifaddrmsg [family 1][prefix length 1][flags 1][scope 1][index 4]  then attributes
 *   attribute:          [length 2, with this header][type 2][value][padding to 4]
 *
 * @see rtnetlink(7), linux/rtnetlink.h, linux/if_link.h
 */
import type { Ipv4 } from '../../net/ipv4.ts';

export const RtnetlinkType = {
  NewLink: 16,
  DeleteLink: 17,
  GetLink: 18,
  SetLink: 19,
  NewAddress: 20,
  GetAddress: 22,
} as const;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly mtu: number;
  readonly queueLength: number;
  /** IPv4 forwarding of packets that come in here; null when the kernel keeps no IPv4 settings for the link. */
  readonly forwarding: boolean | null;
  /** The driver's name, such as `tun` or `veth`; empty for hardware. */
  readonly kind: string;
}

export interface LinkAddress {
  readonly index: number;
  readonly address: Ipv4;
  readonly prefixLength: number;
}

export interface LinkChange {
  readonly mtu?: number;
  readonly queueLength?: number;
  readonly up?: true;
  readonly forwarding?: boolean;
  /** No IPv6 link-local address, so that the kernel never speaks IPv6 there by itself. */
  readonly ipv6Addresses?: 'none';
}

export function encodeLinkDump(): Uint8Array {
  return linkHeader(0, 0, 0);
}

export function encodeAddressDump(): Uint8Array {
  return addressHeader(0, 0);
}

/** RTM_DELLINK */
export function encodeLinkDeletion(index: number): Uint8Array {
  return linkHeader(index, 0, 0);
}

/** RTM_SETLINK: changes what `change` names and nothing else. */
export function encodeLinkChange(index: number, change: LinkChange): Uint8Array {
  const families: Uint8Array[] = [];
  if (change.forwarding !== undefined) {
    const setting = attribute(IPV4_DEVCONF_FORWARDING, u32(change.forwarding ? 1 : 0));
    families.push(nested(AF_INET, nested(IFLA_INET_CONF, setting)));
  }
  if (change.ipv6Addresses === 'none')
    families.push(nested(AF_INET6, attribute(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(IN6_ADDR_GEN_MODE_NONE))));
  const up = change.up === true ? IFF_UP : 0;
  return concatenate([
    linkHeader(index, up, up),
    ...(change.mtu === undefined ? [] : [attribute(IFLA_MTU, u32(change.mtu))]),
    ...(change.queueLength === undefined ? [] : [attribute(IFLA_TXQLEN, u32(change.queueLength))]),
    ...(families.length === 0 ? [] : [nested(IFLA_AF_SPEC, ...families)]),
  ]);
}

/** RTM_NEWADDR: one IPv4 address with its on-link prefix. */
export function encodeNewAddress(address: LinkAddress): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, address.address);
  return concatenate([
    addressHeader(address.index, address.prefixLength),
    attribute(IFA_LOCAL, bytes),
    attribute(IFA_ADDRESS, bytes),
  ]);
}

/** @returns undefined for a message too short or malformed. */
export function decodeLink(payload: Uint8Array): Link | undefined {
  if (payload.length < LINK_HEADER_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const attributes = decodeAttributes(payload.subarray(LINK_HEADER_BYTES));
  const name = attributes.get(IFLA_IFNAME);
  if (name === undefined) return undefined;
  return {
    index: view.getInt32(4, true),
    name: textOf(name),
    up: (view.getUint32(8, true) & IFF_UP) !== 0,
    mtu: readU32(attributes.get(IFLA_MTU)) ?? 0,
    queueLength: readU32(attributes.get(IFLA_TXQLEN)) ?? 0,
    forwarding: forwardingOf(attributes.get(IFLA_AF_SPEC)),
    kind: textOf(decodeAttributes(attributes.get(IFLA_LINKINFO) ?? NOTHING).get(IFLA_INFO_KIND) ?? NOTHING),
  };
}

/** @returns undefined for a message too short, of another family or without an address. */
export function decodeAddress(payload: Uint8Array): LinkAddress | undefined {
  if (payload.length < ADDRESS_HEADER_BYTES || payload[0] !== AF_INET) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const attributes = decodeAttributes(payload.subarray(ADDRESS_HEADER_BYTES));
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  if (bytes?.length !== 4) return undefined;
  const address = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
  return { index: view.getUint32(4, true), address, prefixLength: payload[1] };
}

/** A reply carries all IPv4 settings as one array of u32, setting n at index n − 1. */
function forwardingOf(spec: Uint8Array | undefined): boolean | null {
  const inet = spec === undefined ? undefined : decodeAttributes(spec).get(AF_INET);
  const settings = inet === undefined ? undefined : decodeAttributes(inet).get(IFLA_INET_CONF);
  const value = readU32(settings?.subarray((IPV4_DEVCONF_FORWARDING - 1) * 4));
  return value === undefined ? null : value !== 0;
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** The attributes by type; reading stops at the first whose length lies. */
function decodeAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = 0; offset + ATTRIBUTE_HEADER_BYTES <= bytes.length;) {
    const length = view.getUint16(offset, true);
    if (length < ATTRIBUTE_HEADER_BYTES || offset + length > bytes.length) break;
    const type = view.getUint16(offset + 2, true) & ATTRIBUTE_TYPE_MASK;
    found.set(type, bytes.subarray(offset + ATTRIBUTE_HEADER_BYTES, offset + length));
    offset += align4(length);
  }
  return found;
}

function linkHeader(index: number, flags: number, change: number): Uint8Array {
  const header = new Uint8Array(LINK_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, change, true);
  return header;
}

function addressHeader(index: number, prefixLength: number): Uint8Array {
  const header = new Uint8Array(ADDRESS_HEADER_BYTES);
  header[0] = AF_INET;
  header[1] = prefixLength;
  new DataView(header.buffer).setUint32(4, index, true);
  return header;
}

function attribute(type: number, value: Uint8Array): Uint8Array {
  const length = ATTRIBUTE_HEADER_BYTES + value.length;
  const bytes = new Uint8Array(align4(length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, length, true);
  view.setUint16(2, type, true);
  bytes.set(value, ATTRIBUTE_HEADER_BYTES);
  return bytes;
}

function nested(type: number, ...children: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NLA_F_NESTED, concatenate(children));
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function readU32(bytes: Uint8Array | undefined): number | undefined {
  if (bytes === undefined || bytes.length < 4) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

function align4(length: number): number {
  return (length + 3) & ~3;
}

const NOTHING = new Uint8Array(0);
const LINK_HEADER_BYTES = 16;
const ADDRESS_HEADER_BYTES = 8;
const ATTRIBUTE_HEADER_BYTES = 4;
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;
const AF_INET = 2;
const AF_INET6 = 10;
const IFF_UP = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_TXQLEN = 13;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_AF_SPEC = 26;
const IFLA_INET_CONF = 1;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IPV4_DEVCONF_FORWARDING = 1;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
