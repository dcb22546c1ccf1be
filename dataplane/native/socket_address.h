// A remote UDP address and our side of the path to it: one 64-byte row of a batch's `remotes`.
//
//   0      family: 4, 6, or 0 for an empty row (an IPv4 address mapped into IPv6 is written as family 4)
//   1      zero
//   2..3   port, network order
//   4..19  address (IPv4 in the first 4)
//   20..23 scope id of a link-local IPv6 address, little endian
//   24..39 our address, as 4..19; all zero where unknown
//   40..43 index of the interface the datagram came in by, little endian; 0 where unknown
//   44..63 zero
//
// Bytes 0..23 name the remote and are all that two rows must share to be the same remote.
#pragma once

#include <cstdint>

struct SocketAddress {
  uint8_t family, zero;
  uint16_t portNetworkOrder;
  uint8_t address[16];
  uint32_t scope;
  uint8_t local[16];
  uint32_t interface;
  uint8_t reserved[20];
};
static_assert(sizeof(SocketAddress) == 64, "SOCKET_ADDRESS_BYTES of dataplane/data-channel.ts");
