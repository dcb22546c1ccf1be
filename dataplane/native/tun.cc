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

constexpr size_t kReadBytes = 65536;

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

// Decrypted TCP segments of one flow leave as one super-packet: one write, one pass through the kernel's stack.
constexpr uint32_t kIpBytes = 20, kSuperPacketMax = 65535;
constexpr unsigned kOpenRuns = 4, kRunSegments = 128;
constexpr uint8_t kAck = 0x10, kPush = 0x08;

// An IPv4 packet with a whole TCP header, no IP options and no fragmentation.
struct Segment {
  uint8_t* ip;
  uint32_t length, headerBytes, payloadBytes;
  bool mergeable;  // payload, and no flag that means more than "here is data"

  bool sameFlow(const uint8_t* other) const {
    return memcmp(ip + 12, other + 12, 8) == 0 && load<uint32_t>(ip + kIpBytes) == load<uint32_t>(other + kIpBytes);
  }
  bool intact() const {
    const uint32_t tcpBytes = length - kIpBytes;
    return foldSum(sumBytes(ip, kIpBytes)) == 0xffff &&
           foldSum(sumBytes(ip + kIpBytes, tcpBytes, pseudoSum(ip, 6, tcpBytes))) == 0xffff;
  }
};

bool parse(uint8_t* ip, uint32_t length, Segment* out) {
  if (length < kIpBytes + 20 || ip[0] != 0x45 || ip[9] != 6 || get16(ip + 2) != length) return false;
  if ((get16(ip + 6) & 0x3fff) != 0) return false;
  const uint32_t headerBytes = kIpBytes + (ip[kIpBytes + 12] >> 4) * 4u;
  if (headerBytes < kIpBytes + 20 || headerBytes > length) return false;
  const bool plain = (ip[kIpBytes + 13] & ~kPush) == kAck && (ip[kIpBytes + 12] & 0x0f) == 0 && length > headerBytes;
  *out = {ip, length, headerBytes, length - headerBytes, plain};
  return true;
}

struct Run {
  Segment head{};  // ip is null while the run is free
  uint32_t payloadBytes = 0;
  unsigned count = 0;
  bool closed = false, verified = false, pushes = false;
  iovec parts[1 + kRunSegments];  // the virtio-net header, the first packet whole, the payloads of the others

  // Everything the segments of a super-packet have in common must be equal, and both checksums right:
  // the kernel makes new ones, which would turn damage into valid data.
  bool accepts(const Segment& segment) {
    const uint8_t *a = head.ip, *b = segment.ip, *tcpA = a + kIpBytes, *tcpB = b + kIpBytes;
    if (closed || !segment.mergeable || segment.headerBytes != head.headerBytes) return false;
    if (segment.payloadBytes > head.payloadBytes || count == kRunSegments) return false;
    if (head.headerBytes + payloadBytes + segment.payloadBytes > kSuperPacketMax) return false;
    if (get32(tcpB + 4) != get32(tcpA + 4) + payloadBytes) return false;  // sequence
    if (a[1] != b[1] || load<uint16_t>(a + 6) != load<uint16_t>(b + 6) || a[8] != b[8]) return false;  // TOS, DF, TTL
    if (memcmp(tcpA + 8, tcpB + 8, 4) != 0 || memcmp(tcpA + 14, tcpB + 14, 2) != 0) return false;  // acknowledgement, window
    if (memcmp(tcpA + 20, tcpB + 20, head.headerBytes - kIpBytes - 20) != 0) return false;  // options
    verified = verified || head.intact();
    return verified && segment.intact();
  }

  void add(const Segment& segment) {
    const bool first = count++ == 0;
    if (first) head = segment;
    parts[count] = first ? iovec{segment.ip, segment.length} : iovec{segment.ip + head.headerBytes, segment.payloadBytes};
    payloadBytes = segment.payloadBytes + (first ? 0 : payloadBytes);
    pushes = (segment.ip[kIpBytes + 13] & kPush) != 0;
    closed = pushes || segment.payloadBytes < head.payloadBytes;
    verified = verified && !first;
  }
};

struct Writer {
  const int fd;
  Counters* const counters;
  int32_t written = 0;
  unsigned next = 0;
  Run runs[kOpenRuns];

  Writer(int descriptor, Counters* instanceCounters) : fd(descriptor), counters(instanceCounters) {}

  // A flow has at most one open run, and whatever of the flow does not extend it sends it off first: order is kept.
  void take(uint8_t* data, uint32_t size) {
    Segment segment;
    if (!parse(data, size, &segment)) return write(data, size);
    Run* free = nullptr;
    for (Run& run : runs) {
      const bool open = run.head.ip != nullptr;
      if (open && !segment.sameFlow(run.head.ip)) continue;
      if (open && run.accepts(segment)) return run.add(segment);
      if (open) flush(&run);
      free = &run;
      if (open) break;
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
    if (ok) written += static_cast<int32_t>(packets);
  }

  void flush(Run* run) {
    uint8_t* ip = run->head.ip;
    if (ip == nullptr) return;
    run->head.ip = nullptr;
    const uint32_t tcpBytes = run->head.headerBytes - kIpBytes + run->payloadBytes;
    VnetHeader header{};
    if (run->count > 1) {
      put16(ip + 2, kIpBytes + tcpBytes);
      putIpChecksum(ip, kIpBytes);
      if (run->pushes) ip[kIpBytes + 13] |= kPush;
      store16(ip + kIpBytes + 16, foldSum(pseudoSum(ip, 6, tcpBytes)));
      header = {kVnetNeedsChecksum, kGsoTcp4, static_cast<uint16_t>(run->head.headerBytes),
                static_cast<uint16_t>(run->head.payloadBytes), kIpBytes, 16};
      counters->coalescedRuns++;
    }
    put(&header, run->parts, run->count);
  }
};

}  // namespace

// (name, multi-queue, persistent, owner or −1, facts out: fd, TSO, USO)
int64_t exported::tunOpen(Call& call) {
  const int32_t multiQueue = call.integer(1), persist = call.integer(2), owner = call.integer(3);
  const Bytes facts = call.facts(4, 3);
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
  const char* failed = nullptr;
  if (ioctl(fd, TUNSETIFF, &request) != 0) failed = "TUNSETIFF";
  else if (owner >= 0 && ioctl(fd, TUNSETOWNER, static_cast<unsigned long>(owner)) != 0) failed = "TUNSETOWNER";
  else if (persist != 0 && ioctl(fd, TUNSETPERSIST, 1ul) != 0) failed = "TUNSETPERSIST";
  else if (!enableOffloads(fd, facts)) failed = "TUNSETOFFLOAD";
  if (failed == nullptr) return 0;
  call.systemError(failed, errno);
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

int64_t exported::tunWrite(Call& call) {
  const int32_t fd = call.descriptor(0);
  const Batch* batch = call.batch(1);
  const uint32_t count = call.count(2, batch);
  if (call.failed()) return 0;
  Writer writer(fd, &call.instance->counters);
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
