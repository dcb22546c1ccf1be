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

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

struct SocketAddress {
  uint8_t family;
  uint8_t zero;
  uint16_t portNetworkOrder;
  uint8_t address[16];
  uint32_t scope;
  uint8_t local[16];
  uint32_t interface;
  uint8_t reserved[20];

  bool hasLocal() const;
};
static_assert(sizeof(SocketAddress) == 64, "SOCKET_ADDRESS_BYTES of dataplane/data-channel.ts");

// Sets family, port, address and scope; clears the rest.
void setRemote(SocketAddress* row, const sockaddr_storage& from);
// Takes our address from an IP_PKTINFO or IPV6_PKTINFO control message; @returns false for any other.
bool setLocal(SocketAddress* row, cmsghdr* message);
void setLocal(SocketAddress* row, const sockaddr_storage& local);
// @returns the length of the socket address, 0 for an empty row. A dual-stack socket takes both families.
socklen_t toSockaddr(const SocketAddress& row, sockaddr_storage* out);
// Writes the control message that makes a datagram leave from our side of `row`. @returns its space, 0 for none.
size_t putPacketInfo(const SocketAddress& row, cmsghdr* message);
// @returns false if `text` is no IP address.
bool parseSockaddr(const std::string& text, uint16_t port, sockaddr_storage* out, socklen_t* length);
// Binds a new non-blocking socket, shared by SO_REUSEPORT, dual stack where the address is IPv6. @returns it or −errno.
int bindSocket(int type, const std::string& address, int port);
int boundPort(int fd);
