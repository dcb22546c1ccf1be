#include <linux/filter.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "addon.h"
#include "socket_address.h"

namespace {

constexpr uint32_t kUdpPayloadMax = 65507;
constexpr uint32_t kGroSegments = 128;  // what the newest kernels glue together
constexpr uint32_t kGsoRetryS = 10;     // a path MTU may have grown again

// @returns the family; an IPv4 address mapped into IPv6 is written as the former.
uint8_t putAddress(uint8_t* to, const in6_addr& from) {
  const bool mapped = IN6_IS_ADDR_V4MAPPED(&from);
  memset(to, 0, 16);
  memcpy(to, from.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
  return mapped ? 4 : 6;
}

SocketAddress rowFrom(const sockaddr_storage& from) {
  SocketAddress row{};
  const auto& in = reinterpret_cast<const sockaddr_in&>(from);
  const auto& in6 = reinterpret_cast<const sockaddr_in6&>(from);
  row.family = from.ss_family == AF_INET ? 4 : putAddress(row.address, in6.sin6_addr);
  if (from.ss_family == AF_INET) memcpy(row.address, &in.sin_addr, 4);
  row.portNetworkOrder = in.sin_port;  // at the same place in both
  row.scope = row.family == 6 ? in6.sin6_scope_id : 0;
  return row;
}

SocketAddress rowAt(const uint8_t* rows, size_t index) {
  SocketAddress row;
  memcpy(&row, rows + index * sizeof row, sizeof row);
  return row;
}

// Takes our address from a packet-info control message; leaves the row alone for any other.
void setLocal(SocketAddress* row, cmsghdr* message) {
  if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_PKTINFO) {
    in_pktinfo info;
    memcpy(&info, CMSG_DATA(message), sizeof info);
    memset(row->local, 0, sizeof row->local);
    memcpy(row->local, &info.ipi_spec_dst, 4);
    row->interface = static_cast<uint32_t>(info.ipi_ifindex);
  } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_PKTINFO) {
    in6_pktinfo info;
    memcpy(&info, CMSG_DATA(message), sizeof info);
    putAddress(row->local, info.ipi6_addr);
    row->interface = info.ipi6_ifindex;
  }
}

// @returns the length of the socket address, 0 for an empty row. A dual-stack socket takes both families.
socklen_t toSockaddr(const SocketAddress& row, sockaddr_storage* out) {
  auto* in = reinterpret_cast<sockaddr_in*>(out);
  auto* in6 = reinterpret_cast<sockaddr_in6*>(out);
  memset(in6, 0, sizeof *in6);
  out->ss_family = row.family == 4 ? AF_INET : AF_INET6;
  in->sin_port = row.portNetworkOrder;  // at the same place in both
  if (row.family == 4) memcpy(&in->sin_addr, row.address, 4);
  if (row.family == 4) return sizeof *in;
  memcpy(&in6->sin6_addr, row.address, 16);
  in6->sin6_scope_id = row.scope;
  return row.family == 6 ? sizeof *in6 : 0;
}

// Writes a control message. @returns its space.
size_t putControl(uint8_t* control, int level, int type, const void* data, size_t size) {
  auto* message = reinterpret_cast<cmsghdr*>(control);
  memset(message, 0, CMSG_SPACE(size));
  message->cmsg_level = level;
  message->cmsg_type = type;
  message->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(message), data, size);
  return CMSG_SPACE(size);
}

// Writes the control message that makes a datagram leave from our side of `row`. @returns its space, 0 for none.
size_t putPacketInfo(const SocketAddress& row, uint8_t* control) {
  if (memcmp(row.local, SocketAddress{}.local, sizeof row.local) == 0) return 0;
  if (row.family == 4) {
    in_pktinfo info{};  // without the interface: the answer takes today's route, from the address the client knows
    memcpy(&info.ipi_spec_dst, row.local, 4);
    return putControl(control, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  }
  in6_pktinfo info{};
  memcpy(&info.ipi6_addr, row.local, 16);
  if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = row.interface;
  return putControl(control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
}

// Mostly best effort: what the kernel or the family does not have is done without.
bool setOption(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value) == 0; }

// Binds a new non-blocking socket, shared by SO_REUSEPORT, dual stack where the address is IPv6. @returns it or −errno.
int bindSocket(int type, const SocketAddress& address) {
  sockaddr_storage local;
  const socklen_t length = toSockaddr(address, &local);
  if (length == 0) return -EINVAL;
  const int fd = socket(local.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const bool ok = setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
                  (type != SOCK_STREAM || setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1)) &&
                  (address.family != 6 || setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0));
  if (ok && bind(fd, reinterpret_cast<sockaddr*>(&local), length) == 0) return fd;
  const int error = errno;
  close(fd);
  return -error;
}

int boundPort(int fd) {
  sockaddr_storage local{};
  socklen_t length = sizeof local;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) == 0 ? ntohs(rowFrom(local).portNetworkOrder) : 0;
}

int32_t getOption(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : 0;
}

// Splits message `index` of the last recvmmsg into slots from `slot` on. @returns the next free slot.
uint32_t takeMessage(Batch* batch, UdpScratch* scratch, uint32_t index, uint32_t slot, Counters* counters) {
  msghdr& header = scratch->messages[index].msg_hdr;
  const uint32_t size = std::min(scratch->messages[index].msg_len, batch->regionBytes);
  SocketAddress row = rowFrom(scratch->names[index]);
  uint32_t segment = size;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    setLocal(&row, control);
    if (control->cmsg_level != SOL_UDP || control->cmsg_type != UDP_GRO) continue;
    int glued;
    memcpy(&glued, CMSG_DATA(control), sizeof glued);
    if (glued > 0) segment = static_cast<uint32_t>(glued);
  }
  memcpy(batch->remotes + static_cast<size_t>(index) * sizeof row, &row, sizeof row);
  uint32_t at = 0;
  for (; slot < batch->capacity && (at == 0 || at < size); at += segment, slot++) {
    // The last datagram of a message that was cut off is not whole.
    if ((header.msg_flags & MSG_TRUNC) != 0 && at + segment >= size) break;
    batch->offset[slot] = index * batch->regionBytes + at;
    batch->length[slot] = std::min(segment, size - at);
    batch->source[slot] = static_cast<int32_t>(index);
    batch->verdict[slot] = kPending;
    if (segment == 0) return slot + 1;
  }
  if (at < size) counters->receiveTruncated++;
  return slot;
}

// Gathers datagrams into runs of one remote and one length, and sends as many runs as it can with each call.
struct Sender {
  const int fd;
  Batch* const batch;
  UdpScratch* const scratch;
  Counters* const counters;
  const uint32_t now;
  unsigned messages = 0, iovecs = 0;
  uint32_t sent = 0;
  int failure = 0;  // the socket takes no more, or is none: the rest is dropped

  // @returns false when all that was gathered must be flushed first.
  bool append(uint32_t slot, uint8_t* data, uint32_t size, int32_t row) {
    if (extend(data, size, row)) return true;
    // A new run may come to need an iovec for each of its segments.
    if (messages == kMessages || iovecs + kGsoSegments > kSendIovecs) return false;
    const SocketAddress to = rowAt(batch->remotes, static_cast<size_t>(row));
    sockaddr_storage* name = &scratch->names[messages];
    const socklen_t length = toSockaddr(to, name);
    if (length == 0) return true;  // an empty row: nobody to send to
    uint8_t* control = scratch->control[messages];
    scratch->messages[messages].msg_hdr = {name, length, &scratch->iovecs[iovecs], 1, control, putPacketInfo(to, control), 0};
    scratch->iovecs[iovecs++] = {data, size};
    scratch->runs[messages++] = {slot, 1, size, size, row};
    return true;
  }

  bool extend(uint8_t* data, uint32_t size, int32_t row) {
    if (messages == 0) return false;
    UdpScratch::Run& run = scratch->runs[messages - 1];
    // Only the last segment may be short, so a run that has a short one is closed.
    if (run.row != row || run.totalBytes != run.datagrams * run.segmentBytes || size > run.segmentBytes) return false;
    if (size == 0 || run.datagrams == kGsoSegments || run.totalBytes + size > kUdpPayloadMax) return false;
    if (run.segmentBytes >= batch->gsoLimits[row].bytes && now < batch->gsoLimits[row].until) return false;
    iovec& last = scratch->iovecs[iovecs - 1];
    if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == data) {
      last.iov_len += size;
    } else {
      scratch->iovecs[iovecs++] = {data, size};
      scratch->messages[messages - 1].msg_hdr.msg_iovlen++;
    }
    run.datagrams++;
    run.totalBytes += size;
    return true;
  }

  // Sends what was gathered. @returns the slot to go on from: `next`, or the first of a run that has to leave singly.
  uint32_t flush(uint32_t next) {
    for (unsigned i = 0; i < messages; i++) {
      msghdr& header = scratch->messages[i].msg_hdr;
      const auto bytes = static_cast<uint16_t>(scratch->runs[i].segmentBytes);
      if (scratch->runs[i].datagrams == 1) continue;
      uint8_t* control = scratch->control[i] + header.msg_controllen;
      header.msg_controllen += putControl(control, SOL_UDP, UDP_SEGMENT, &bytes, sizeof bytes);
      counters->gsoRuns++;
    }
    const unsigned count = messages;
    messages = iovecs = 0;
    for (unsigned done = 0; done < count && failure == 0;) {
      const int result = sendmmsg(fd, scratch->messages + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);
      counters->sendCalls++;
      for (int i = 0; i < result; i++) sent += scratch->runs[done++].datagrams;
      if (result > 0) continue;
      if (errno == EAGAIN || errno == ENOBUFS || errno == EBADF || errno == ENOTSOCK) failure = errno;
      const UdpScratch::Run& run = scratch->runs[done++];
      // Any other failure of a single datagram is its own: no route, refused by a filter. The next may pass.
      if (run.datagrams == 1 || (errno != EMSGSIZE && errno != EINVAL && errno != EIO && errno != EOPNOTSUPP)) continue;
      // Most often above the path MTU, where only plain datagrams may be fragmented.
      counters->gsoRefused++;
      batch->gsoLimits[run.row] = {std::min(run.segmentBytes, batch->gsoLimits[run.row].bytes), now + kGsoRetryS};
      return run.firstSlot;
    }
    return next;
  }
};

// (descriptor, Uint8Array, offset, length)
int64_t transfer(Call& call, bool sending) {
  const int32_t fd = call.descriptor(0), offset = call.integer(2), length = call.integer(3);
  const Bytes bytes = call.bytes(1);
  if (call.failed()) return 0;
  // Reading nothing would look like the end of the stream.
  if (offset < 0 || length < 1 || static_cast<size_t>(offset) + static_cast<size_t>(length) > bytes.size)
    return call.rangeError("Offset and length lie outside the array, or length is 0");
  uint8_t* data = bytes.data + offset;
  const auto size = static_cast<size_t>(length);
  const ssize_t moved = sending ? send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) : recv(fd, data, size, MSG_DONTWAIT);
  return moved < 0 ? -errno : moved;
}

}  // namespace

// (address row, GRO wanted, receive and send buffer, facts out: fd, GRO, GSO, port, receive and send buffer granted)
int64_t exported::udpOpen(Call& call) {
  const Bytes local = call.bytes(0, sizeof(SocketAddress));
  const int32_t gro = call.integer(1), receiveBytes = call.integer(2), sendBytes = call.integer(3);
  const Bytes facts = call.facts(4, 6);
  if (call.failed()) return 0;
  const int fd = bindSocket(SOCK_DGRAM, rowAt(local.data, 0));
  if (fd < 0) return call.systemError("bind UDP socket", -fd);
  if (receiveBytes > 0) setOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBytes);
  if (sendBytes > 0) setOption(fd, SOL_SOCKET, SO_SNDBUF, sendBytes);
  setOption(fd, IPPROTO_IP, IP_PKTINFO, 1);
  setOption(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  // A datagram larger than the path is fragmented, here or on the way, instead of refused: inner packets of 1,500 bytes.
  setOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  setOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
  if (gro != 0) setOption(fd, SOL_UDP, UDP_GRO, 1);
  const bool gso = setOption(fd, SOL_UDP, UDP_SEGMENT, 0);
  return writeFacts(facts, {fd, getOption(fd, SOL_UDP, UDP_GRO), gso, boundPort(fd), getOption(fd, SOL_SOCKET, SO_RCVBUF),
                            getOption(fd, SOL_SOCKET, SO_SNDBUF)});
}

int64_t exported::udpSteer(Call& call) {
  const int32_t fd = call.descriptor(0), threads = call.integer(1);
  if (threads < 1 || threads > 256 || (threads & (threads - 1)) != 0) call.rangeError("Expected a power of two up to 256");
  if (call.failed()) return 0;
  // The filter sees the UDP payload. A load beyond its end would choose socket 0, hence the length first.
  const sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 4, 0, 6),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 3),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 9, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, static_cast<uint32_t>(threads - 1)),
      BPF_STMT(BPF_RET | BPF_A, 0),
      BPF_STMT(BPF_RET | BPF_K, static_cast<uint32_t>(threads)),
  };
  const sock_fprog program = {sizeof code / sizeof *code, const_cast<sock_filter*>(code)};
  const int attached = setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
  return call.checked("SO_ATTACH_REUSEPORT_CBPF", attached);
}

int64_t exported::udpReceive(Call& call) {
  const int32_t fd = call.descriptor(0);
  Batch* batch = call.batch(1);
  if (call.failed()) return 0;
  UdpScratch* scratch = &call.instance->udp;
  const size_t perMessage = batch->regionBytes >= 65535 ? kGroSegments : 1;
  const size_t most = std::max<size_t>(1, batch->capacity / perMessage);
  const size_t wanted = std::min<size_t>({kMessages, batch->bytesSize / batch->regionBytes, batch->rows, most});
  if (wanted == 0) return call.rangeError("The batch has no room for one message: bytes or remotes is too small");
  for (size_t i = 0; i < wanted; i++) {
    scratch->iovecs[i] = {batch->bytes + i * batch->regionBytes, batch->regionBytes};
    scratch->messages[i].msg_hdr = {
        &scratch->names[i], sizeof *scratch->names, &scratch->iovecs[i], 1, scratch->control[i], kControlBytes, 0};
  }
  Counters* counters = &call.instance->counters;
  counters->receiveCalls++;
  const int received = recvmmsg(fd, scratch->messages, static_cast<unsigned>(wanted), MSG_DONTWAIT, nullptr);
  if (received < 0) return errno == EAGAIN ? 0 : -errno;
  uint32_t slots = 0;
  for (int i = 0; i < received; i++) slots = takeMessage(batch, scratch, static_cast<uint32_t>(i), slots, counters);
  counters->receivedDatagrams += slots;
  return slots;
}

int64_t exported::udpSend(Call& call) {
  const int32_t fd = call.descriptor(0);
  Batch* batch = call.batch(1);
  const uint32_t count = call.count(2, batch);
  if (call.failed()) return 0;
  if (!batch->gsoLimits) batch->gsoLimits = std::make_unique<GsoLimit[]>(batch->rows);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  Sender sender{fd, batch, &call.instance->udp, &call.instance->counters, static_cast<uint32_t>(now.tv_sec)};
  uint32_t asked = 0, seen = 0, size = 0;
  for (uint32_t i = 0; i < count || sender.messages > 0;) {
    if (i == count) {
      i = sender.flush(count);
      continue;
    }
    const int32_t row = batch->peer[i];
    uint8_t* data = batch->slot(i, &size);
    const bool wanted = batch->verdict[i] == kSend && (batch->flags[i] & kTcpPrefix) == 0;
    if (wanted && (data == nullptr || row < 0 || static_cast<uint32_t>(row) >= batch->rows)) return call.slotError(i);
    if (wanted && i >= seen) asked++;
    seen = std::max(seen, i + 1);
    i = !wanted || sender.failure != 0 || sender.append(i, data, size, row) ? i + 1 : sender.flush(i);
  }
  sender.counters->sentDatagrams += sender.sent;
  sender.counters->sendErrors += asked - sender.sent;
  return sender.sent == 0 && sender.failure == EBADF ? -EBADF : sender.sent;
}

int64_t exported::tcpReceive(Call& call) { return transfer(call, false); }
int64_t exported::tcpSend(Call& call) { return transfer(call, true); }

// (address row, facts out: fd, port)
int64_t exported::tcpListen(Call& call) {
  const Bytes local = call.bytes(0, sizeof(SocketAddress)), facts = call.facts(1, 2);
  if (call.failed()) return 0;
  const int fd = bindSocket(SOCK_STREAM, rowAt(local.data, 0));
  if (fd < 0) return call.systemError("bind TCP socket", -fd);
  if (listen(fd, SOMAXCONN) == 0) return writeFacts(facts, {fd, boundPort(fd)});
  call.systemError("listen", errno);
  return ::close(fd);
}

int64_t exported::tcpAccept(Call& call) {
  const int32_t listener = call.descriptor(0);
  const Bytes remote = call.bytes(1, sizeof(SocketAddress));
  if (call.failed()) return 0;
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  const int fd = accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return -errno;
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  const SocketAddress row = rowFrom(from);
  memcpy(remote.data, &row, sizeof row);
  return fd;
}

// (protocol, multicast groups) @returns a socket that hears what the kernel tells them about our network namespace
int64_t exported::netlinkOpen(Call& call) {
  const int32_t protocol = call.integer(0);
  const Bytes groups = call.facts(1, 1);
  if (call.failed()) return 0;
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  bool ok = fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) == 0;
  for (size_t i = 0; ok && i < groups.size; i++)
    ok = setOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, reinterpret_cast<const int32_t*>(groups.data)[i]);
  if (ok) return fd;
  call.systemError("listen to the kernel", errno);
  return fd < 0 ? 0 : ::close(fd);
}
