#include "udp.h"

#include <linux/filter.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "addon.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

namespace {

constexpr uint32_t kUdpPayloadMax = 65507;
constexpr uint32_t kGsoRetryS = 10;  // a path MTU may have grown again
constexpr uint32_t kRowBytes = sizeof(SocketAddress);

void setOption(int fd, int level, int name, int value) {
  // Best effort: what the kernel or the family does not have is done without.
  (void)setsockopt(fd, level, name, &value, sizeof value);
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
  SocketAddress row;
  setRemote(&row, scratch->names[index]);
  uint32_t segment = size;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
      int glued;
      memcpy(&glued, CMSG_DATA(control), sizeof glued);
      if (glued > 0) segment = static_cast<uint32_t>(glued);
    } else {
      setLocal(&row, control);
    }
  }
  if (header.msg_flags & MSG_TRUNC) {
    counters->receiveTruncated++;
    if (segment >= size) return slot;
  }
  memcpy(batch->remotes + static_cast<size_t>(index) * kRowBytes, &row, kRowBytes);
  uint32_t at = 0;
  do {
    if (slot == batch->capacity) {
      counters->receiveTruncated++;
      break;
    }
    batch->offset[slot] = index * batch->regionBytes + at;
    batch->length[slot] = std::min(segment, size - at);
    batch->source[slot] = static_cast<int32_t>(index);
    batch->verdict[slot] = kPending;
    slot++;
    at += segment;
  } while (at < size);
  return slot;
}

struct Sender {
  int fd;
  Batch* batch;
  UdpScratch* scratch;
  Counters* counters;
  uint32_t now;
  unsigned messages = 0;
  unsigned iovecs = 0;
  int32_t sent = 0;
  bool full = false;  // the socket takes no more: the rest of the batch is dropped
  int fatal = 0;

  bool append(uint8_t* data, uint32_t size, int32_t row);
  void flush();

 private:
  bool extend(uint8_t* data, uint32_t size, int32_t row);
  void finish(unsigned index, bool gso);
  void sendSingly(unsigned index);
};

// Starts or extends a run. @returns false when there is nobody to send to.
bool Sender::append(uint8_t* data, uint32_t size, int32_t row) {
  if (extend(data, size, row)) return true;
  // A fresh run may need as many iovecs as it gets segments.
  if (messages == kMessages || iovecs + kGsoSegments > kSendIovecs) flush();
  SocketAddress to;
  memcpy(&to, batch->remotes + static_cast<size_t>(row) * kRowBytes, kRowBytes);
  msghdr& header = scratch->messages[messages].msg_hdr;
  memset(&header, 0, sizeof header);
  header.msg_namelen = toSockaddr(to, &scratch->names[messages]);
  if (header.msg_namelen == 0) return false;
  header.msg_name = &scratch->names[messages];
  header.msg_iov = &scratch->iovecs[iovecs];
  header.msg_iovlen = 1;
  header.msg_control = scratch->control[messages];
  header.msg_controllen = putPacketInfo(to, reinterpret_cast<cmsghdr*>(scratch->control[messages]));
  scratch->iovecs[iovecs++] = {data, size};
  scratch->runs[messages++] = {1, size, size, row};
  return true;
}

bool Sender::extend(uint8_t* data, uint32_t size, int32_t row) {
  if (messages == 0) return false;
  UdpScratch::Run& run = scratch->runs[messages - 1];
  if (run.row != row || run.datagrams == kGsoSegments || run.totalBytes + size > kUdpPayloadMax) return false;
  // Only the last segment may be short, so a run that has a short one is closed.
  if (size > run.segmentBytes || size == 0 || run.totalBytes != run.datagrams * run.segmentBytes) return false;
  const GsoLimit& limit = batch->gsoLimits[row];
  if (run.segmentBytes >= limit.bytes && now < limit.until) return false;
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

void Sender::finish(unsigned index, bool gso) {
  const UdpScratch::Run& run = scratch->runs[index];
  msghdr& header = scratch->messages[index].msg_hdr;
  if (gso && run.datagrams > 1) {
    auto* control = reinterpret_cast<cmsghdr*>(scratch->control[index] + header.msg_controllen);
    memset(control, 0, CMSG_SPACE(sizeof(uint16_t)));
    control->cmsg_level = SOL_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const uint16_t bytes = static_cast<uint16_t>(run.segmentBytes);
    memcpy(CMSG_DATA(control), &bytes, sizeof bytes);
    header.msg_controllen += CMSG_SPACE(sizeof(uint16_t));
    counters->gsoRuns++;
  }
  if (header.msg_controllen == 0) header.msg_control = nullptr;
}

// A run the kernel refused as a whole: each datagram by itself, so that it may be fragmented.
void Sender::sendSingly(unsigned index) {
  const UdpScratch::Run& run = scratch->runs[index];
  const msghdr original = scratch->messages[index].msg_hdr;
  const size_t controlBytes = original.msg_controllen - CMSG_SPACE(sizeof(uint16_t));
  counters->gsoRefused++;
  batch->gsoLimits[run.row] = {std::min(run.segmentBytes, batch->gsoLimits[run.row].bytes), now + kGsoRetryS};
  size_t part = 0, at = 0;
  for (uint32_t left = run.totalBytes; left > 0 && !full && fatal == 0;) {
    if (at == original.msg_iov[part].iov_len) part++, at = 0;
    const uint32_t size = std::min(run.segmentBytes, left);
    iovec piece{static_cast<uint8_t*>(original.msg_iov[part].iov_base) + at, size};
    msghdr single = original;
    single.msg_iov = &piece;
    single.msg_iovlen = 1;
    single.msg_controllen = controlBytes;
    if (controlBytes == 0) single.msg_control = nullptr;
    ssize_t result;
    do result = sendmsg(fd, &single, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (result < 0 && errno == EINTR);
    counters->sendCalls++;
    if (result >= 0) sent++, counters->sentDatagrams++;
    else if (errno == EAGAIN || errno == ENOBUFS) full = true;
    left -= size;
    at += size;
  }
}

void Sender::flush() {
  for (unsigned i = 0; i < messages; i++) finish(i, true);
  for (unsigned done = 0; done < messages && !full && fatal == 0;) {
    const int result = sendmmsg(fd, scratch->messages + done, messages - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    counters->sendCalls++;
    for (int i = 0; i < result; i++, done++) {
      sent += static_cast<int32_t>(scratch->runs[done].datagrams);
      counters->sentDatagrams += scratch->runs[done].datagrams;
    }
    if (result > 0 || errno == EINTR) continue;
    const bool run = scratch->runs[done].datagrams > 1;
    if (errno == EAGAIN || errno == ENOBUFS) full = true;
    else if (errno == EBADF || errno == ENOTSOCK) fatal = errno;
    else if (run && (errno == EMSGSIZE || errno == EINVAL || errno == EIO || errno == EOPNOTSUPP)) sendSingly(done++);
    else done++;  // nobody there, no route, refused by a filter: this one is lost, the next may pass
  }
  messages = iovecs = 0;
}

}  // namespace

napi_value udpOpen(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const std::string address = call.text(0, "address");
  const int32_t port = call.integerField(0, "port", 0);
  const bool gro = call.booleanField(0, "gro", true);
  const int32_t receiveBytes = call.integerField(0, "receiveBufferBytes", 0);
  const int32_t sendBytes = call.integerField(0, "sendBufferBytes", 0);
  if (call.failed()) return nullptr;
  if (port > 65535) return call.rangeError("Expected a port from 0 to 65535");
  const int fd = bindSocket(SOCK_DGRAM, address, port);
  if (fd < 0) return call.systemError("bind UDP socket", -fd);
  if (receiveBytes > 0) setOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBytes);
  if (sendBytes > 0) setOption(fd, SOL_SOCKET, SO_SNDBUF, sendBytes);
  setOption(fd, IPPROTO_IP, IP_PKTINFO, 1);
  setOption(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  // A datagram larger than the path is fragmented, here or on the way, instead of refused: inner packets of 1,500 bytes.
  setOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  setOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
  if (gro) setOption(fd, SOL_UDP, UDP_GRO, 1);
  const int zero = 0;
  const bool gso = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &zero, sizeof zero) == 0;
  napi_value object;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  setField(env, object, "fd", fd);
  setField(env, object, "gro", getOption(fd, SOL_UDP, UDP_GRO) != 0);
  setField(env, object, "gso", gso);
  setField(env, object, "port", boundPort(fd));
  setField(env, object, "receiveBufferBytes", getOption(fd, SOL_SOCKET, SO_RCVBUF));
  setField(env, object, "sendBufferBytes", getOption(fd, SOL_SOCKET, SO_SNDBUF));
  return object;
}

napi_value udpSteer(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0), threads = call.integer(1);
  if (call.failed()) return nullptr;
  if (threads < 1 || threads > 256 || (threads & (threads - 1)) != 0)
    return call.rangeError("Expected a power of two from 1 to 256 threads");
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
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) != 0)
    call.systemError("SO_ATTACH_REUSEPORT_CBPF", errno);
  return nullptr;
}

napi_value udpReceive(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  Batch* batch = call.batch(1, kHas_length | kHas_verdict | kHas_source | kHasRemotes);
  if (call.failed()) return nullptr;
  UdpScratch* scratch = call.instance->udp.get();
  const uint32_t perMessage = batch->regionBytes >= 65535 ? kGroSegments : 1;
  const size_t room = std::min<size_t>(batch->bytesSize / batch->regionBytes, batch->rows);
  const uint32_t most = std::max<uint32_t>(1, batch->capacity / perMessage);
  const uint32_t wanted = static_cast<uint32_t>(std::min<size_t>({kMessages, room, most}));
  if (wanted == 0) return call.rangeError("The batch has no room for one message: bytes or remotes is too small");
  for (uint32_t i = 0; i < wanted; i++) {
    scratch->iovecs[i] = {batch->bytes + static_cast<size_t>(i) * batch->regionBytes, batch->regionBytes};
    scratch->messages[i].msg_hdr = {&scratch->names[i], sizeof scratch->names[i], &scratch->iovecs[i], 1,
                                    scratch->control[i], kControlBytes, 0};
    scratch->messages[i].msg_len = 0;
  }
  Counters* counters = &call.instance->counters;
  counters->receiveCalls++;
  int received;
  do received = recvmmsg(fd, scratch->messages, wanted, MSG_DONTWAIT, nullptr);
  while (received < 0 && errno == EINTR);
  if (received < 0) return call.result(errno == EAGAIN ? 0 : -errno);
  uint32_t slots = 0;
  for (int i = 0; i < received; i++) slots = takeMessage(batch, scratch, static_cast<uint32_t>(i), slots, counters);
  counters->receivedDatagrams += slots;
  return call.result(static_cast<int32_t>(slots));
}

napi_value udpSend(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  Batch* batch = call.batch(1, kHas_length | kHas_verdict | kHas_peer | kHasRemotes);
  const int32_t count = call.integer(2);
  if (call.failed()) return nullptr;
  if (count < 0 || static_cast<uint32_t>(count) > batch->capacity) return call.rangeError("More slots than the batch has");
  if (!batch->gsoLimits) batch->gsoLimits = std::make_unique<GsoLimit[]>(batch->rows);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  Sender sender{fd, batch, call.instance->udp.get(), &call.instance->counters, static_cast<uint32_t>(now.tv_sec)};
  uint32_t asked = 0, size = 0;
  for (int32_t i = 0; i < count; i++) {
    if (batch->verdict[i] != kSend || (batch->flags != nullptr && (batch->flags[i] & kTcpPrefix) != 0)) continue;
    uint8_t* data = batch->slot(static_cast<uint32_t>(i), &size);
    const int32_t row = batch->peer[i];
    if (data == nullptr || row < 0 || static_cast<uint32_t>(row) >= batch->rows) {
      sender.flush();
      return call.rangeError("Slot " + std::to_string(i) + " lies outside bytes or names no row of remotes");
    }
    asked++;
    if (sender.full || sender.fatal != 0) continue;
    sender.append(data, size, row);
  }
  sender.flush();
  call.instance->counters.sendErrors += asked - static_cast<uint32_t>(sender.sent);
  return call.result(sender.fatal != 0 ? -sender.fatal : sender.sent);
}

napi_value udpSendTo(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  const Bytes bytes = call.bytes(1), remote = call.bytes(2, sizeof(SocketAddress));
  if (call.failed()) return nullptr;
  SocketAddress row;
  memcpy(&row, remote.data, sizeof row);
  sockaddr_storage to;
  alignas(cmsghdr) uint8_t control[kControlBytes];
  iovec piece{bytes.data, bytes.size};
  const socklen_t length = toSockaddr(row, &to);
  if (length == 0) return call.rangeError("Expected the address of a remote");
  msghdr header{&to, length, &piece, 1, control, putPacketInfo(row, reinterpret_cast<cmsghdr*>(control)), 0};
  if (header.msg_controllen == 0) header.msg_control = nullptr;
  ssize_t sent;
  do sent = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  const int error = errno;
  Counters& counters = call.instance->counters;
  counters.sendCalls++;
  if (sent >= 0) counters.sentDatagrams++;
  else counters.sendErrors++;
  return call.result(sent >= 0 ? static_cast<int32_t>(sent) : -error);
}
