/** Why a packet went no further. Never reuse a number. */
export const DropReason = {
  TooShort: 1,
  BadTag: 2,
  BadPacketId: 3,
  BadEpoch: 4,
  UnknownOpcode: 5,
  UnknownPeer: 6,
  /** Key id expired, destroyed or never installed. */
  UnknownKey: 7,
  Replayed: 8,
  /** Below the replay window, or more than 15 s behind it. */
  TooOld: 9,
  Compressed: 10,
  Ipv6: 11,
  /** Inside the tunnel: no IPv4 packet, or lengths that lie. */
  Malformed: 12,
  TooBig: 13,
  SpoofedSource: 14,
  NoRoute: 15,
  NoRule: 16,
  NotGranted: 17,
  SpecialDestination: 18,
  /** A client address that no client holds. */
  UnknownDestination: 19,
  NoPolicy: 20,
  /** The peer has no key to send with, or it is used up. */
  NoKey: 21,
  Unsealable: 22,
  /** Another thread did not keep up. */
  RingFull: 23,
  /** The client does not read its TCP stream. */
  TcpQueueFull: 24,
  /** Names hops of its own behind the destination. */
  SourceRouted: 25,
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/** The metric labels. What the control channel has too says which of both it is. */
export const DROP_NAMES = {
  TooShort: 'data-too-short',
  BadTag: 'bad-tag',
  BadPacketId: 'bad-packet-id',
  BadEpoch: 'bad-epoch',
  UnknownOpcode: 'data-unknown-opcode',
  UnknownPeer: 'unknown-peer',
  UnknownKey: 'data-unknown-key',
  Replayed: 'data-replayed',
  TooOld: 'too-old',
  Compressed: 'compressed',
  Ipv6: 'ipv6',
  Malformed: 'malformed',
  TooBig: 'data-too-big',
  SpoofedSource: 'spoofed-source',
  NoRoute: 'no-route',
  NoRule: 'no-rule',
  NotGranted: 'not-granted',
  SpecialDestination: 'special-destination',
  UnknownDestination: 'unknown-destination',
  NoPolicy: 'no-policy',
  NoKey: 'no-key',
  Unsealable: 'unsealable',
  RingFull: 'ring-full',
  TcpQueueFull: 'tcp-queue-full',
  SourceRouted: 'source-routed',
} as const satisfies Record<keyof typeof DropReason, string>;
export type DataDrop = (typeof DROP_NAMES)[keyof typeof DropReason];

export const DROP_REASON_COUNT = 26;
