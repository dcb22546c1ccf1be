#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "packet.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace {

// Writes fd, TSO, USO. The kernel takes USO for both families or not at all; without USO, and without any, older ones
// are tried. @returns false, with errno, where the device has no virtio-net header.
bool enableOffloads(int fd, const Bytes& facts) {
  const int headerBytes = sizeof(VnetHeader);
  const unsigned long tso = TUN_F_CSUM | TUN_F_TSO4;
  if (ioctl(fd, TUNSETVNETHDRSZ, &headerBytes) != 0) return false;
  const bool uso = ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0;
  const bool any = uso || ioctl(fd, TUNSETOFFLOAD, tso) == 0;
  writeFacts(facts, {fd, any, uso});
  return any || ioctl(fd, TUNSETOFFLOAD, 0ul) == 0;
}

// Decrypted TCP segments or UDP datagrams of one flow leave as one super-packet: one write, one pass through the kernel.
constexpr uint32_t kIpBytes = 20, kUdpBytes = 8, kSuperPacketMax = 65535, kReadBytes = 65536;
constexpr unsigned kOpenRuns = 4, kRunSegments = 128;
constexpr uint8_t kTcp = 6, kUdp = 17, kAck = 0x10, kPush = 0x08;

// An IPv4 packet with a whole TCP or UDP header, no IP options and no fragmentation.
struct Segment {
  uint8_t* ip;
  uint32_t length, headerBytes, payloadBytes;
  bool mergeable;  // payload, and no flag that means more than "here is data"

  bool udp() const { return ip[9] == kUdp; }
  bool sameFlow(const uint8_t* other) const {
    return memcmp(ip + 12, other + 12, 8) == 0 && load<uint32_t>(ip + kIpBytes) == load<uint32_t>(other + kIpBytes);
  }
  bool intact() const {
    const uint64_t pseudo = pseudoSum(ip, ip[9], length - kIpBytes);
    return foldSum(sumBytes(ip, kIpBytes)) == 0xffff && foldSum(sumBytes(ip + kIpBytes, length - kIpBytes, pseudo)) == 0xffff;
  }
};

bool parse(uint8_t* ip, uint32_t length, Segment* out) {
  if (length < kIpBytes + kUdpBytes || ip[0] != 0x45 || get16(ip + 2) != length || (get16(ip + 6) & 0x3fff) != 0) return false;
  const bool udp = ip[9] == kUdp;
  const uint8_t* inner = ip + kIpBytes;
  if (!udp && (ip[9] != kTcp || length < kIpBytes + 20)) return false;
  const uint32_t headerBytes = kIpBytes + (udp ? kUdpBytes : (inner[12] >> 4) * 4u);
  if (headerBytes < kIpBytes + (udp ? kUdpBytes : 20) || headerBytes > length) return false;
  const bool plain = udp ? get16(inner + 4) == length - kIpBytes && load<uint16_t>(inner + 6) != 0
                         : (inner[13] & ~kPush) == kAck && (inner[12] & 0x0f) == 0;
  *out = {ip, length, headerBytes, length - headerBytes, plain && length > headerBytes};
  return true;
}

struct Run {
  Segment head{};  // ip is null while the run is free
  uint32_t payloadBytes = 0;
  unsigned count = 0;
  bool closed = false, verified = false, pushes = false;
  iovec parts[1 + kRunSegments];  // the virtio-net header, the first packet whole, the payloads of the others

  Run() {}  // leaves the parts unset: clearing 8 KB of them is a cost of each call

  // Everything the segments of a super-packet have in common must be equal, and both checksums right:
  // the kernel makes new ones, which would turn damage into valid data.
  bool accepts(const Segment& segment) {
    const uint8_t *a = head.ip, *b = segment.ip, *tcpA = a + kIpBytes, *tcpB = b + kIpBytes;
    if (closed || !segment.mergeable || a[9] != b[9] || segment.headerBytes != head.headerBytes) return false;
    if (segment.payloadBytes > head.payloadBytes || count == kRunSegments) return false;
    if (head.headerBytes + payloadBytes + segment.payloadBytes > kSuperPacketMax) return false;
    if (a[1] != b[1] || load<uint16_t>(a + 6) != load<uint16_t>(b + 6) || a[8] != b[8]) return false;  // TOS, DF, TTL
    if (segment.udp()) {
      // The kernel counts ids up from the first, which matters where packets may be fragmented.
      if ((a[6] & 0x40) == 0 && get16(b + 4) != static_cast<uint16_t>(get16(a + 4) + count)) return false;
    } else if (get32(tcpB + 4) != get32(tcpA + 4) + payloadBytes || memcmp(tcpA + 8, tcpB + 8, 4) != 0 ||
               memcmp(tcpA + 14, tcpB + 14, 2) != 0 || memcmp(tcpA + 20, tcpB + 20, head.headerBytes - kIpBytes - 20) != 0) {
      return false;  // sequence, acknowledgement, window, options
    }
    verified = verified || head.intact();
    return verified && segment.intact();
  }

  void add(const Segment& segment) {
    const bool first = count++ == 0;
    if (first) head = segment;
    parts[count] = first ? iovec{segment.ip, segment.length} : iovec{segment.ip + head.headerBytes, segment.payloadBytes};
    payloadBytes = segment.payloadBytes + (first ? 0 : payloadBytes);
    pushes = !segment.udp() && (segment.ip[kIpBytes + 13] & kPush) != 0;
    closed = pushes || segment.payloadBytes < head.payloadBytes;
    verified = verified && !first;
  }
};

struct Writer {
  const int fd;
  const bool uso;  // the kernel takes super-packets of UDP
  Counters* const counters;
  unsigned written = 0, next = 0;
  Run runs[kOpenRuns]{};

  // A flow has at most one open run, and whatever of the flow does not extend it sends it off first: order is kept.
  void take(uint8_t* data, uint32_t size) {
    Segment segment;
    if (!parse(data, size, &segment) || (segment.udp() && !uso)) return write(data, size);
    Run* free = nullptr;
    for (Run& run : runs) {
      if (run.head.ip == nullptr && free == nullptr) free = &run;
      if (run.head.ip == nullptr || !segment.sameFlow(run.head.ip)) continue;
      if (run.accepts(segment)) return run.add(segment);
      flush(free = &run);
      break;
    }
    if (!segment.mergeable) return write(data, size);
    if (free == nullptr) flush(free = &runs[next++ % kOpenRuns]);
    free->count = 0;
    free->add(segment);
  }

  void write(uint8_t* data, uint32_t size) {
    VnetHeader header{};
    iovec parts[] = {{}, {data, size}};
    put(&header, parts, 1);
  }
  void put(VnetHeader* header, iovec* parts, unsigned packets) {
    parts[0] = {header, sizeof *header};
    counters->tunWrites++;
    const bool ok = writev(fd, parts, static_cast<int>(packets + 1)) >= 0;
    (ok ? counters->tunWrittenPackets : counters->tunWriteErrors) += packets;
    if (ok) written += packets;
  }

  void flush(Run* run) {
    uint8_t* ip = run->head.ip;
    if (ip == nullptr) return;
    run->head.ip = nullptr;
    const uint32_t innerBytes = run->head.headerBytes - kIpBytes + run->payloadBytes;
    VnetHeader header{};
    if (run->count > 1) {
      const bool udp = ip[9] == kUdp;
      const uint16_t place = udp ? 6 : 16;  // of the checksum
      put16(ip + 2, kIpBytes + innerBytes);
      putIpChecksum(ip, kIpBytes);
      if (udp) put16(ip + kIpBytes + 4, innerBytes);
      if (run->pushes) ip[kIpBytes + 13] |= kPush;
      store16(ip + kIpBytes + place, foldSum(pseudoSum(ip, ip[9], innerBytes)));
      header = {kVnetNeedsChecksum, udp ? kGsoUdp : kGsoTcp4, static_cast<uint16_t>(run->head.headerBytes),
                static_cast<uint16_t>(run->head.payloadBytes), kIpBytes, place};
      counters->coalescedRuns++;
    }
    put(&header, run->parts, run->count);
  }
};

}  // namespace

// (name, multi-queue, facts out: fd, TSO, USO)
int64_t exported::tunOpen(Call& call) {
  const int32_t multiQueue = call.integer(1);
  const Bytes facts = call.facts(2, 3);
  ifreq request{};
  char name[IFNAMSIZ + 1] = "";
  size_t length = 0;
  if (call.failed()) return 0;
  napi_get_value_string_utf8(call.env, call.args[0], name, sizeof name, &length);
  if (length == 0 || length >= IFNAMSIZ) return call.rangeError("Expected an interface name of 1 to 15 bytes");
  memcpy(request.ifr_name, name, length);
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (multiQueue != 0 ? IFF_MULTI_QUEUE : 0));
  const int fd = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return call.systemError("/dev/net/tun", errno);
  // One without an owner is everybody's who can open the device: a queue more reads what is for clients, and sends as them.
  const bool made = ioctl(fd, TUNSETIFF, &request) == 0 && ioctl(fd, TUNSETOWNER, 0) == 0;
  if (made && enableOffloads(fd, facts)) return 0;
  call.systemError(made ? "TUNSETOFFLOAD" : "TUNSETIFF", errno);
  return ::close(fd);
}

int64_t exported::tunOffload(Call& call) {
  const int32_t fd = call.descriptor(0);
  const Bytes facts = call.facts(1, 3);
  return call.failed() ? 0 : call.checked("TUNSETOFFLOAD", enableOffloads(fd, facts) ? 0 : -1);
}

int64_t exported::tunRead(Call& call) {
  const int32_t fd = call.descriptor(0);
  const Batch* batch = call.batch(1);
  if (call.failed()) return 0;
  if (batch->bytesSize < kReadBytes) return call.rangeError("tunRead needs 65536 bytes or more");
  uint32_t slot = 0;
  for (size_t at = 0; slot < batch->capacity && at + kReadBytes <= batch->bytesSize; slot++) {
    VnetHeader header;
    const iovec parts[] = {{&header, sizeof header}, {batch->bytes + at, kReadBytes}};
    const ssize_t size = readv(fd, parts, 2);
    call.instance->counters.tunReads++;
    if (size < 0 && slot == 0 && errno != EAGAIN) return -errno;
    if (size <= static_cast<ssize_t>(sizeof header)) break;
    const auto length = static_cast<uint32_t>(size) - static_cast<uint32_t>(sizeof header);
    const auto type = static_cast<uint8_t>(header.gsoType & ~kVnetEcn);
    batch->offset[slot] = static_cast<uint32_t>(at);
    batch->length[slot] = length;
    batch->verdict[slot] = kPending;
    batch->segmentBytes[slot] = type == 0 ? 0 : header.gsoSize;
    batch->headerBytes[slot] = header.headerBytes;
    batch->offload[slot] = static_cast<uint8_t>(type | (header.flags & kVnetNeedsChecksum ? kNeedsChecksum : 0));
    batch->checksumStart[slot] = header.checksumStart;
    batch->checksumOffset[slot] = header.checksumOffset;
    at += (length + 63u) & ~63u;
  }
  call.instance->counters.tunReadPackets += slot;
  return slot;
}

// (descriptor, batch, count, 1 where the device has USO)
int64_t exported::tunWrite(Call& call) {
  const int32_t fd = call.descriptor(0), uso = call.integer(3);
  const Batch* batch = call.batch(1);
  const uint32_t count = call.count(2, batch);
  if (call.failed()) return 0;
  Writer writer{fd, uso != 0, &call.instance->counters};
  uint32_t size = 0;
  for (uint32_t i = 0; i < count && !call.failed(); i++) {
    if (batch->verdict[i] != kSend) continue;
    uint8_t* data = batch->slot(i, &size);
    if (data == nullptr) call.slotError(i);
    else if (size > 0) writer.take(data, size);
  }
  for (Run& run : writer.runs) writer.flush(&run);
  return writer.written;
}
