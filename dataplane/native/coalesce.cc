// Decrypted TCP segments of one flow leave as one super-packet: one write, one pass through the kernel's stack.
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "addon.h"
#include "checksum.h"
#include "vnet_header.h"

namespace {

constexpr uint32_t kIpBytes = 20;
constexpr uint32_t kSuperPacketMax = 65535;
constexpr unsigned kOpenRuns = 4;
constexpr unsigned kRunSegments = 128;
constexpr uint8_t kAck = 0x10, kPush = 0x08;

// An IPv4 packet with a whole TCP header, no IP options and no fragmentation.
struct Segment {
  uint8_t* ip;
  uint32_t length;
  uint32_t headerBytes;
  uint32_t payloadBytes;
  bool mergeable;  // payload, and no flag that means more than "here is data"

  static bool parse(uint8_t* ip, uint32_t length, Segment* out);
  bool sameFlow(const uint8_t* other) const {
    return memcmp(ip + 12, other + 12, 8) == 0 && load32(ip + kIpBytes) == load32(other + kIpBytes);
  }
  bool intact() const {
    return foldSum(sumBytes(ip, kIpBytes)) == 0xffff &&
           foldSum(sumBytes(ip + kIpBytes, length - kIpBytes, pseudoSum(ip, 6, length - kIpBytes))) == 0xffff;
  }
};

bool Segment::parse(uint8_t* ip, uint32_t length, Segment* out) {
  if (length < kIpBytes + 20 || ip[0] != 0x45 || ip[9] != 6 || get16(ip + 2) != length) return false;
  if ((get16(ip + 6) & 0x3fff) != 0) return false;
  const uint32_t headerBytes = kIpBytes + (ip[kIpBytes + 12] >> 4) * 4u;
  if (headerBytes < kIpBytes + 20 || headerBytes > length) return false;
  const uint8_t flags = ip[kIpBytes + 13];
  const bool plain = (flags & ~kPush) == kAck && (ip[kIpBytes + 12] & 0x0f) == 0 && length > headerBytes;
  *out = {ip, length, headerBytes, length - headerBytes, plain};
  return true;
}

struct Run {
  uint8_t* head = nullptr;  // null: free
  uint32_t headerBytes = 0;
  uint32_t segmentBytes = 0;
  uint32_t payloadBytes = 0;
  unsigned count = 0;
  bool closed = false;
  bool verified = false;
  iovec parts[1 + kRunSegments];  // the virtio-net header, the first packet whole, the payloads of the others

  void start(const Segment& segment);
  bool accepts(const Segment& segment);
  void add(const Segment& segment);
};

class Writer {
 public:
  Writer(int fd, Counters* counters) : fd_(fd), counters_(counters) {}
  void write(uint8_t* data, uint32_t size);
  void flush(Run* run);
  void take(uint8_t* data, uint32_t size);
  void flushAll() {
    for (Run& run : runs_) flush(&run);
  }
  int32_t written = 0;

 private:
  ssize_t put(iovec* parts, unsigned count);
  int fd_;
  Counters* counters_;
  Run runs_[kOpenRuns];
  unsigned next_ = 0;
};

void Run::start(const Segment& segment) {
  head = segment.ip;
  headerBytes = segment.headerBytes;
  segmentBytes = payloadBytes = segment.payloadBytes;
  count = 1;
  closed = (segment.ip[kIpBytes + 13] & kPush) != 0;
  verified = false;
  parts[1] = {segment.ip, segment.length};
}

// Everything the segments of a super-packet have in common must be equal, and both checksums right:
// the kernel makes new ones, which would turn damage into valid data.
bool Run::accepts(const Segment& segment) {
  const uint8_t *a = head, *b = segment.ip;
  if (closed || !segment.mergeable || segment.headerBytes != headerBytes || segment.payloadBytes > segmentBytes) return false;
  if (count == kRunSegments || headerBytes + payloadBytes + segment.payloadBytes > kSuperPacketMax) return false;
  if (get32(b + kIpBytes + 4) != get32(a + kIpBytes + 4) + payloadBytes) return false;         // sequence
  if (a[1] != b[1] || load16(a + 6) != load16(b + 6) || a[8] != b[8]) return false;            // TOS, DF, TTL
  if (load32(a + kIpBytes + 8) != load32(b + kIpBytes + 8)) return false;                      // acknowledgement
  if (load16(a + kIpBytes + 14) != load16(b + kIpBytes + 14)) return false;                    // window
  if (memcmp(a + kIpBytes + 20, b + kIpBytes + 20, headerBytes - kIpBytes - 20) != 0) return false;  // options
  if (!verified) {
    if (!(Segment{head, headerBytes + segmentBytes, headerBytes, segmentBytes, true}).intact()) return false;
    verified = true;
  }
  return segment.intact();
}

void Run::add(const Segment& segment) {
  count++;
  parts[count] = {segment.ip + headerBytes, segment.payloadBytes};
  payloadBytes += segment.payloadBytes;
  closed = segment.payloadBytes < segmentBytes || (segment.ip[kIpBytes + 13] & kPush) != 0;
}

ssize_t Writer::put(iovec* parts, unsigned count) {
  ssize_t size;
  do size = writev(fd_, parts, static_cast<int>(count));
  while (size < 0 && errno == EINTR);
  counters_->tunWrites++;
  return size;
}

void Writer::write(uint8_t* data, uint32_t size) {
  VnetHeader header{};
  iovec parts[] = {{&header, sizeof header}, {data, size}};
  if (put(parts, 2) < 0) {
    counters_->tunWriteErrors++;
    return;
  }
  written++;
  counters_->tunWrittenPackets++;
}

void Writer::flush(Run* run) {
  uint8_t* ip = run->head;
  if (ip == nullptr) return;
  run->head = nullptr;
  if (run->count == 1) return write(ip, static_cast<uint32_t>(run->parts[1].iov_len));
  uint8_t saved[80];  // the longest header that Segment::parse takes
  memcpy(saved, ip, run->headerBytes);
  const uint32_t tcpBytes = run->headerBytes - kIpBytes + run->payloadBytes;
  put16(ip + 2, kIpBytes + tcpBytes);
  putIpChecksum(ip, kIpBytes);
  const iovec& last = run->parts[run->count];
  ip[kIpBytes + 13] |= (static_cast<uint8_t*>(last.iov_base) - run->headerBytes)[kIpBytes + 13] & kPush;
  store16(ip + kIpBytes + 16, foldSum(pseudoSum(ip, 6, tcpBytes)));
  VnetHeader header{kVnetNeedsChecksum, kGsoTcp4, static_cast<uint16_t>(run->headerBytes),
                    static_cast<uint16_t>(run->segmentBytes), kIpBytes, 16};
  run->parts[0] = {&header, sizeof header};
  if (put(run->parts, run->count + 1) >= 0) {
    written += static_cast<int32_t>(run->count);
    counters_->tunWrittenPackets += run->count;
    counters_->coalescedRuns++;
    return;
  }
  memcpy(ip, saved, run->headerBytes);
  write(ip, run->headerBytes + run->segmentBytes);
  for (unsigned i = 2; i <= run->count; i++)
    write(static_cast<uint8_t*>(run->parts[i].iov_base) - run->headerBytes,
          run->headerBytes + static_cast<uint32_t>(run->parts[i].iov_len));
}

// A flow has at most one open run, and whatever of the flow does not extend it sends it off first: order is kept.
void Writer::take(uint8_t* data, uint32_t size) {
  Segment segment;
  if (!Segment::parse(data, size, &segment)) return write(data, size);
  Run* free = nullptr;
  for (Run& run : runs_) {
    if (run.head == nullptr) {
      free = &run;
      continue;
    }
    if (!segment.sameFlow(run.head)) continue;
    if (run.accepts(segment)) return run.add(segment);
    flush(&run);
    free = &run;
    break;
  }
  if (!segment.mergeable) return write(data, size);
  if (free == nullptr) {
    free = &runs_[next_++ % kOpenRuns];
    flush(free);
  }
  free->start(segment);
}

}  // namespace

napi_value tunWrite(napi_env env, napi_callback_info info) {
  Call call(env, info);
  const int32_t fd = call.descriptor(0);
  Batch* batch = call.batch(1, kHas_length | kHas_verdict);
  const int32_t count = call.integer(2);
  if (call.failed()) return nullptr;
  if (count < 0 || static_cast<uint32_t>(count) > batch->capacity) return call.rangeError("More slots than the batch has");
  Writer writer(fd, &call.instance->counters);
  for (int32_t i = 0; i < count; i++) {
    if (batch->verdict[i] != kSend) continue;
    uint32_t size = 0;
    uint8_t* data = batch->slot(static_cast<uint32_t>(i), &size);
    if (data == nullptr) {
      writer.flushAll();
      return call.rangeError("Slot " + std::to_string(i) + " lies outside bytes");
    }
    if (size > 0) writer.take(data, size);
  }
  writer.flushAll();
  return call.result(writer.written);
}
